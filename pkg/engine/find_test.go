package engine

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

func TestPlace(t *testing.T) {
	secure := &tls.Config{}
	for _, tt := range []struct {
		host string
		tls  *tls.Config
		want string
		kind manifest.Kind
	}{
		{host: "unix:///run/x.sock", want: "unix:///run/x.sock"},
		{host: "/run/x.sock", kind: manifest.KindUsage},
		{host: "tcp://build", want: "tcp://build:2375"},
		{host: "tcp://build", tls: secure, want: "tcp://build:2376"},
		{host: "tcp://build:99/engine", want: "tcp://build:99/engine"},
		{host: "tcp://[::1]", want: "tcp://[::1]:2375"},
		{host: "build:2375", want: "tcp://build:2375"},
		{host: ":2375", want: "tcp://:2375"},
		{host: "npipe:////./pipe/docker_engine", want: "npipe:////./pipe/docker_engine"},
		{host: "ssh://me@build", kind: manifest.KindUsage},
		{host: "ftp://build", kind: manifest.KindUsage},
	} {
		ep, err := place(tt.host, tt.tls)
		if ep.host != tt.want || manifest.KindOf(err) != tt.kind {
			t.Errorf("%s: got %s, %v", tt.host, ep.host, err)
		}
	}
}

// setDocker makes this test independent of the settings of whoever runs it, and returns its docker configuration folder.
func setDocker(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_API_VERSION"} {
		t.Setenv(name, "")
	}
	t.Setenv("DOCKER_CONFIG", dir)
	return dir
}

func writeContext(t *testing.T, dir, name, host string) {
	t.Helper()
	folder := filepath.Join(dir, "contexts", "meta", digest.FromString(name).Encoded())
	raw, _ := json.Marshal(map[string]any{"Name": name, "Endpoints": map[string]any{"docker": map[string]any{"Host": host}}})
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "meta.json"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestFind goes through the places in the order of the docker CLI.
func TestFind(t *testing.T) {
	argument, env, byVariable, current := startEngine(t, nil), startEngine(t, nil), startEngine(t, nil), startEngine(t, nil)
	dir := setDocker(t)
	writeContext(t, dir, "variable", byVariable)
	writeContext(t, dir, "current", current)
	writeContext(t, dir, "remote", "ssh://me@build")
	config := filepath.Join(dir, "config.json")
	if err := os.WriteFile(config, []byte(`{"currentContext":"current","auths":{}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, host, dockerHost, dockerContext, want string
		kind                                        manifest.Kind
	}{
		{name: "argument", host: argument, dockerHost: env, dockerContext: "variable", want: argument},
		{name: "DOCKER_HOST", dockerHost: env, dockerContext: "variable", want: env},
		{name: "DOCKER_CONTEXT", dockerContext: "variable", want: byVariable},
		{name: "current context", want: current},
		{name: "no such context", dockerContext: "nobody", kind: manifest.KindUsage},
		{name: "context over ssh", dockerContext: "remote", kind: manifest.KindUsage},
		{name: "no socket", host: "unix:///nonexistent.sock", kind: manifest.KindPermission},
		{name: "nobody listens", host: "tcp://127.0.0.1:1", kind: manifest.KindPermission},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("DOCKER_HOST", tt.dockerHost)
			t.Setenv("DOCKER_CONTEXT", tt.dockerContext)
			e, err := Find(t.Context(), tt.host)
			if manifest.KindOf(err) != tt.kind {
				t.Fatalf("got %v", err)
			}
			if err != nil {
				if f := err.(*manifest.Failure); f.Hint == "" {
					t.Errorf("%v has no hint", err)
				}
				return
			}
			defer e.Close()
			if e.Address() != tt.want {
				t.Errorf("got %s, want %s", e.Address(), tt.want)
			}
			want := manifest.Engine{Name: "Docker Engine", Version: "20.10.99", API: "1.41", Store: manifest.StoreGraphdriver, Driver: "overlay2",
				Platform: manifest.Platform{OS: "linux", Architecture: "amd64"}, Root: "/var/lib/docker"}
			if got := e.Describe(); got.String() != want.String() || got.API != want.API || got.Root != want.Root {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestFindSocketNobodyListensOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	_, err = Find(t.Context(), "unix://"+path)
	if manifest.KindOf(err) != manifest.KindPermission || !strings.Contains(err.Error(), "nobody listens") {
		t.Errorf("got %v", err)
	}
}

// TestFindTLS needs both certificates to be right, as an engine with --tlsverify does.
func TestFindTLS(t *testing.T) {
	setDocker(t)
	dir := t.TempDir()
	ca, key := writePair(t, dir, nil, nil, "")
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	server := t.TempDir()
	writePair(t, server, ca, key, "127.0.0.1")
	pair, err := tls.LoadX509KeyPair(filepath.Join(server, "cert.pem"), filepath.Join(server, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(engineHandler(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(`{"stream":"Loaded image ID: sha256:` + hexA + `\n"}`))
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	s.StartTLS()
	defer s.Close()
	host := "tcp://" + s.Listener.Addr().String()
	if err := os.Rename(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "ca.pem")); err != nil {
		t.Fatal(err)
	}
	writePair(t, dir, ca, key, "client")

	if _, err := Find(t.Context(), host); err == nil {
		t.Error("found without TLS")
	}
	t.Setenv("DOCKER_TLS_VERIFY", "1")
	if _, err := Find(t.Context(), host); manifest.KindOf(err) != manifest.KindPermission {
		t.Errorf("without certificates: %v", err)
	}
	t.Setenv("DOCKER_CERT_PATH", dir)
	e := find(t, host)
	if id, err := e.Load(t.Context(), reading(strings.NewReader("archive"))); id != "sha256:"+hexA || err != nil {
		t.Errorf("load: %s, %v", id, err)
	}
}

// writePair writes cert.pem and key.pem to dir, signed by ca, or by itself as a CA when ca is nil.
func writePair(t *testing.T, dir string, ca *x509.Certificate, caKey *ecdsa.PrivateKey, name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: ca == nil,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	}
	parent, signer := ca, caKey
	if ca == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "EC PRIVATE KEY", Bytes: rawKey}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
