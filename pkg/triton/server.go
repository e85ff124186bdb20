package triton

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A Dialer connects to an address. That of a host which is reached over SSH connects from there.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// Server is a running Triton, asked and told over HTTP. It is not for inference. Dial makes one.
type Server struct {
	// Version is what the server calls itself, as in "2.29.0" or "1.5.0"; empty when it does not tell. ParseServerVersion
	// reads it.
	Version string
	// URL is where it answers, without a slash at the end.
	URL string

	client *http.Client
	api    api
}

// ErrNotExplicit is what Load and Unload return on a server that does not take orders: it polls the repository, or looks at
// it only when it starts. Servers do not tell which of the two.
var ErrNotExplicit = errors.New("the server loads models by itself")

// VersionState is what a server says of one version of a model.
type VersionState struct {
	Version int64
	State   State
	Reason  string // why it is not ready; safe to print; often empty
}

// State is where a version of a model stands in the server.
type State string

// The states. The V1 protocol calls them MODEL_READY and so on.
const (
	StateReady       State = "READY"
	StateLoading     State = "LOADING"
	StateUnloading   State = "UNLOADING"
	StateUnavailable State = "UNAVAILABLE"
)

// api is one of the protocols that servers speak.
type api interface {
	// states lists the versions that the server knows of a model, in any order.
	states(ctx context.Context, model string) ([]VersionState, error)
	// load and unload return ErrNotExplicit where they are not allowed.
	load(ctx context.Context, model string) error
	unload(ctx context.Context, model string) error
	// ready asks for one version directly; it is the last word.
	ready(ctx context.Context, model string, version int64) (bool, error)
}

// maxAnswer is how much of an answer is read, in bytes. The longest is the list of all models.
const maxAnswer = 16 << 20

// answerLimit is how long a server may take for an answer, but for those that load something.
const answerLimit = 15 * time.Second

// Dial finds out which protocol the server at rawURL speaks and which version it is. Connections are made by via; nil stands
// for the network of this machine. Errors are KindUsage failures for a URL that makes no sense, and KindServer failures when
// nothing there answers as Triton does.
func Dial(ctx context.Context, rawURL string, via Dialer) (*Server, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	if via == nil {
		via = new(net.Dialer).DialContext
	}
	// A fresh connection for each request: few are made, minutes may lie between them, and each may take another way.
	s := &Server{URL: u, client: &http.Client{
		Transport:     &http.Transport{DialContext: via, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if err := s.introduce(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// IsLoopback reports whether the server of rawURL is on the machine that the URL is used on.
func IsLoopback(rawURL string) bool {
	u, err := parseURL(rawURL)
	if err != nil {
		return false
	}
	parsed, _ := url.Parse(u)
	ip := net.ParseIP(parsed.Hostname())
	return strings.EqualFold(parsed.Hostname(), "localhost") || ip != nil && ip.IsLoopback()
}

// parseURL also takes HOST:PORT, as Clara's variables have it.
func parseURL(raw string) (string, error) {
	full := raw
	if !strings.Contains(raw, "://") {
		full = "http://" + raw
	}
	u, err := url.Parse(full)
	if err == nil && u.User != nil {
		u.User = nil // whoever reads the log need not know it
		return "", manifest.Fail(manifest.KindUsage, "", "before %q stands a name or password, which Triton does not ask for", manifest.Plain(u.String())).
			Advise("leave it out, as in http://localhost:8000")
	}
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" {
		return "", manifest.Fail(manifest.KindUsage, "", "%q is not the address of a Triton server", manifest.Plain(raw)).
			Advise("give its HTTP address, as in http://localhost:8000")
	}
	return strings.TrimRight(u.Scheme+"://"+u.Host+u.Path, "/"), nil
}

// introduce tries the protocols, the newer one first.
func (s *Server) introduce(ctx context.Context) error {
	const step = "ask Triton"
	for _, try := range []func(context.Context) (bool, error){s.speakV2, s.speakV1} {
		spoken, err := try(ctx)
		if err != nil {
			return s.unreachable(ctx, step, err)
		}
		if spoken {
			return nil
		}
	}
	return manifest.Fail(manifest.KindServer, step, "what answers at %s is not Triton", s.URL).
		Advise("give the server's HTTP port, which is 8000 unless it was started otherwise")
}

// unreachable keeps failures that know better, such as that of a lost connection to the host.
func (s *Server) unreachable(ctx context.Context, step string, err error) error {
	var f *manifest.Failure
	if errors.As(err, &f) || ctx.Err() != nil {
		return err
	}
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return manifest.Fail(manifest.KindServer, step, "Triton does not answer at %s: %s", s.URL, manifest.Plain(err.Error())).
		Advise("see that it runs and that the port is the HTTP one; a server that found a bad model when it started may have ended itself: its log tells")
}

// answer is what came back.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// ask makes one request within limit. Only the network makes an error, and the end of ctx, whose own error it is then.
func (s *Server) ask(ctx context.Context, limit time.Duration, method, path, body string) (answer, error) {
	within, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %v", limit))
	defer cancel()
	a, err := s.answer(within, method, path, body)
	switch {
	case err != nil && ctx.Err() != nil: // not what the client makes of its cause
		err = ctx.Err()
	case err != nil && within.Err() != nil:
		err = context.Cause(within)
	}
	return a, err
}

func (s *Server) answer(ctx context.Context, method, path, body string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, s.URL+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	res, err := s.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err == nil && len(raw) > maxAnswer {
		err = fmt.Errorf("the answer to %s is larger than %s", path, manifest.FormatBytes(maxAnswer))
	}
	return answer{res.StatusCode, res.Header, raw}, err
}

// States lists what the server knows of a model, by version; nothing when it does not know it.
func (s *Server) States(ctx context.Context, model string) ([]VersionState, error) {
	states, err := s.api.states(ctx, model)
	if err != nil {
		return nil, s.unreachable(ctx, "ask Triton", err)
	}
	slices.SortFunc(states, func(a, b VersionState) int { return cmp.Compare(a.Version, b.Version) })
	return states, nil
}

// Load makes the server load a model, unless it has read these very files, and returns when it has. ctx is the only limit. The error is ErrNotExplicit, or
// a KindServer failure with the server's reason.
func (s *Server) Load(ctx context.Context, model string) error {
	return s.order(ctx, "load", model, s.api.load)
}

// Unload makes the server let go of a model. Errors are as those of Load.
func (s *Server) Unload(ctx context.Context, model string) error {
	return s.order(ctx, "unload", model, s.api.unload)
}

func (s *Server) order(ctx context.Context, what, model string, do func(context.Context, string) error) error {
	err := do(ctx, model)
	var refused reason
	switch {
	case err == nil || errors.Is(err, ErrNotExplicit):
		return err
	case errors.As(err, &refused):
		return manifest.Fail(manifest.KindServer, what+" "+model, "Triton says: %s", string(refused)).Advise("the server's log tells more")
	}
	return s.unreachable(ctx, what+" "+model, err)
}

// reason is why a server did not do what it was told, in its own words, safe to print.
type reason string

func (r reason) Error() string { return string(r) }

// maxReason keeps an answer readable. Python tracebacks come as reasons.
const maxReason = 2000

// reasonOf makes a reason of what a server said; code is the HTTP status.
func reasonOf(text string, code int) error {
	text = strings.TrimSpace(manifest.Plain(text))
	if strings.Contains(text, "explicit model load / unload is not allowed") {
		return ErrNotExplicit
	}
	if text == "" {
		text = fmt.Sprintf("HTTP status %d, and nothing more", code)
	}
	return reason(shorten(text))
}

func shorten(text string) string {
	if len(text) <= maxReason {
		return text
	}
	return strings.ToValidUTF8(text[:maxReason], "") + " …"
}
