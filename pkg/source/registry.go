package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// answerTime is how long a registry may take to begin an answer.
const answerTime = 30 * time.Second

// accepted are the documents that a registry may answer with for a name.
var accepted = strings.Join([]string{
	ocispec.MediaTypeImageIndex, manifest.DockerList, ocispec.MediaTypeImageManifest, manifest.DockerManifest,
}, ", ")

// registryOrigin is one image in a registry. Credentials are those of docker login, credential helpers included.
type registryOrigin struct {
	ref    name.Reference
	asked  string // as the user wrote it
	client *http.Client
	base   string // https://registry.example.com/v2/team/app

	root manifest.Descriptor // what the name means now
	raw  []byte              // the document of root

	idle  time.Duration // how long a download may stand still
	pause time.Duration // before the first further attempt in a row; each one after it waits twice as long
}

// openRegistry asks the registry that ref means for it.
func openRegistry(ctx context.Context, ref string) (*registryOrigin, error) {
	r, err := parseRegistryRef(ref)
	if err != nil {
		return nil, manifest.Fail(manifest.KindUsage, "find image", "%.200q is not an image in a registry: %w", ref, err)
	}
	o := &registryOrigin{ref: r, asked: ref, idle: 30 * time.Second, pause: 250 * time.Millisecond}
	if err := o.connect(ctx); err != nil {
		return nil, o.failure("connect to registry", err)
	}
	o.raw, o.root, err = o.document(ctx, r.Identifier(), accepted)
	if err != nil {
		return nil, o.failure("find image", err)
	}
	if d, ok := r.(name.Digest); ok && d.DigestStr() != string(o.root.Digest) {
		return nil, o.failure("find image", integrity("the registry answers with %s", o.root.Digest))
	}
	return o, nil
}

// parseRegistryRef allows plain HTTP on this machine only, as docker does.
func parseRegistryRef(ref string) (name.Reference, error) {
	r, err := name.ParseReference(ref)
	if err == nil && isLoopback(r.Context().RegistryStr()) {
		return name.ParseReference(ref, name.Insecure)
	}
	return r, err
}

func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// connect signs in where the registry asks for it.
func (o *registryOrigin) connect(ctx context.Context) error {
	repo := o.ref.Context()
	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, repo)
	if err != nil {
		return manifest.Fail(manifest.KindUsage, "", "read docker credentials: %w", err)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = answerTime
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: answerTime / 2, PingTimeout: answerTime / 2}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	signed, err := transport.NewWithContext(ctx, repo.Registry, auth, httpsOnly(t, repo.Registry), []string{repo.Scope(transport.PullScope)})
	if err != nil {
		return err
	}
	o.client = &http.Client{Transport: signed}
	o.base = fmt.Sprintf("%s://%s/v2/%s", repo.Scheme(), repo.RegistryStr(), repo.RepositoryStr())
	return nil
}

// secure refuses plain HTTP, whatever a redirect or a guess about the address says, except that a registry on this
// machine may use it on this machine.
type secure struct {
	next  http.RoundTripper
	local bool
}

func httpsOnly(t http.RoundTripper, r name.Registry) http.RoundTripper {
	return secure{next: t, local: isLoopback(r.RegistryStr())}
}

// RoundTrip sends r if it may be sent.
func (s secure) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !(s.local && isLoopback(r.URL.Host)) {
		return nil, fmt.Errorf("plain HTTP to %s is refused", r.URL.Host)
	}
	return s.next.RoundTrip(r)
}

// document fetches a manifest or index by tag or digest. Its digest is computed, never believed.
func (o *registryOrigin) document(ctx context.Context, identifier, accept string) ([]byte, manifest.Descriptor, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	resp, err := o.get(ctx, "/manifests/"+identifier, http.Header{"Accept": {accept}})
	if err != nil {
		return nil, manifest.Descriptor{}, err
	}
	defer resp.Body.Close()
	if err := transport.CheckError(resp, http.StatusOK); err != nil {
		return nil, manifest.Descriptor{}, err
	}
	raw, err := readLimited(resp.Body)
	mediaType, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	return raw, manifest.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}, err
}

func (o *registryOrigin) get(ctx context.Context, path string, h http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.base+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header = h
	return o.client.Do(req)
}

func readLimited(r io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, manifest.MaxDocument+1))
	if len(raw) > manifest.MaxDocument {
		return nil, malformed("a document has more than %s", manifest.FormatBytes(manifest.MaxDocument))
	}
	return raw, err
}

func (o *registryOrigin) image(ctx context.Context, w want) (manifest.Image, error) {
	p := &picker{read: o.read, want: w, def: native()}
	img, err := p.image(ctx, []manifest.Descriptor{o.root})
	if err != nil {
		return manifest.Image{}, o.failure("read image", err)
	}
	img.Origin = "registry " + o.ref.Context().RegistryStr()
	return img, nil
}

// read fetches what the picker asks for; it checks the digest.
func (o *registryOrigin) read(ctx context.Context, d manifest.Descriptor) ([]byte, error) {
	switch {
	case d.Digest == o.root.Digest:
		return o.raw, nil
	case manifest.IsIndex(d.MediaType) || manifest.IsManifest(d.MediaType):
		raw, _, err := o.document(ctx, string(d.Digest), d.MediaType)
		return raw, err
	}
	r, err := o.open(ctx, d, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readLimited(r)
}

func (o *registryOrigin) close() error {
	o.client.CloseIdleConnections()
	return nil
}

// failure says what an error of a registry means to the user.
func (o *registryOrigin) failure(step string, err error) error {
	host := o.ref.Context().RegistryStr()
	step += " " + o.asked
	var f *manifest.Failure
	var answer *transport.Error
	var network net.Error
	switch {
	case errors.As(err, &f):
		return about(err, o.asked)
	case errors.Is(err, context.Canceled):
		return manifest.Fail(manifest.KindInterrupted, step, "%w", err)
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		return manifest.Fail(manifest.KindPermission, step, "%s refuses access: %s", host, diagnosis(answer)).Advise("docker login %s", loginName(host))
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		return manifest.Fail(manifest.KindNotFound, step, "%s does not have it: %s", host, diagnosis(answer))
	case errors.As(err, &answer):
		return manifest.Fail(manifest.KindConnect, step, "%s answers with status %d: %s", host, answer.StatusCode, diagnosis(answer))
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return manifest.Fail(manifest.KindConnect, step, "%s did not answer in time", host)
	}
	return manifest.Fail(manifest.KindConnect, step, "cannot reach %s: %s", host, manifest.Plain(err.Error())).
		Advise("see whether this machine reaches the registry")
}

// diagnosis is what a registry says went wrong, made safe to print.
func diagnosis(e *transport.Error) string {
	if len(e.Errors) == 0 {
		return http.StatusText(e.StatusCode)
	}
	return fmt.Sprintf("%.200s", manifest.Plain(string(e.Errors[0].Code)+" "+e.Errors[0].Message))
}

// loginName is what docker login calls a registry; Docker Hub needs no name.
func loginName(host string) string {
	if host == name.DefaultRegistry {
		return ""
	}
	return host
}
