package dial

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// A server is a real sshd on a loopback port that lets the client's key in, and the files a client needs for it.
type server struct {
	dir    string
	port   int
	user   string
	client keyPair            // let in
	host   map[string]keyPair // by kind: ed25519, ecdsa, rsa
	log    string
}

// A keyPair is a private key with its files.
type keyPair struct {
	path   string // private; beside it .pub
	signer ssh.Signer
}

func (k keyPair) line() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.signer.PublicKey())))
}

// known is a line of known_hosts for the server under a name of its own choice.
func known(names string, k keyPair) string { return names + " " + k.line() + "\n" }

func (s *server) bracketed() string { return fmt.Sprintf("[127.0.0.1]:%d", s.port) }

// rawKey makes a private key; RSA keys are slow to make, so there are only a few.
func rawKey(kind string, n int) crypto.PrivateKey {
	keyMu.Lock()
	defer keyMu.Unlock()
	name := fmt.Sprint(kind, n)
	if keyCache[name] == nil {
		var key crypto.PrivateKey
		var err error
		switch kind {
		case "rsa":
			key, err = rsa.GenerateKey(rand.Reader, 2048)
		case "ecdsa":
			key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		default:
			_, key, err = ed25519.GenerateKey(rand.Reader)
		}
		if err != nil {
			panic(err)
		}
		keyCache[name] = key
	}
	return keyCache[name]
}

var (
	keyMu    sync.Mutex
	keyCache = map[string]crypto.PrivateKey{}
	keyCount int
)

// newKey writes a new key pair, encrypted when there is a passphrase.
func newKey(t *testing.T, dir, name, kind, passphrase string) keyPair {
	t.Helper()
	keyMu.Lock()
	keyCount++
	n := keyCount
	keyMu.Unlock()
	return writeKey(t, dir, name, rawKey(kind, n), passphrase)
}

func writeKey(t *testing.T, dir, name string, key crypto.PrivateKey, passphrase string) keyPair {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(key)
	must(t, err)
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(key, name)
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, name, []byte(passphrase))
	}
	must(t, err)
	k := keyPair{path: filepath.Join(dir, name), signer: signer}
	write(t, k.path, string(pem.EncodeToMemory(block)))
	write(t, k.path+".pub", k.line()+"\n")
	return k
}

// certify writes a certificate for a key beside it.
func certify(t *testing.T, k, ca keyPair, kind uint32, principals ...string) {
	t.Helper()
	cert := &ssh.Certificate{
		Key: k.signer.PublicKey(), CertType: kind, KeyId: "test", ValidPrincipals: principals,
		ValidAfter: uint64(time.Now().Add(-time.Hour).Unix()), ValidBefore: uint64(time.Now().Add(time.Hour).Unix()),
	}
	must(t, cert.SignCert(rand.Reader, ca.signer))
	write(t, k.path+"-cert.pub", string(ssh.MarshalAuthorizedKey(cert)))
}

// startSSHD starts a server with these kinds of host key, ed25519 alone when none is named, and more lines for
// sshd_config. It skips the test where there is no sshd or it may not be started.
func startSSHD(t *testing.T, kinds string, config ...string) *server {
	t.Helper()
	program := findSSHD(t)
	s := &server{dir: t.TempDir(), user: me(t), host: map[string]keyPair{}}
	s.client = newKey(t, s.dir, "id", "ed25519", "")
	write(t, filepath.Join(s.dir, "authorized_keys"), s.client.line()+"\n")
	for i, kind := range strings.Fields(kinds + " ") {
		s.host[kind] = writeKey(t, s.dir, "host_"+kind, rawKey(kind, -1-i), "")
		config = append(config, "HostKey "+s.host[kind].path)
	}
	s.log = filepath.Join(s.dir, "log")
	for range 5 {
		s.port = freePort(t)
		write(t, filepath.Join(s.dir, "sshd_config"), strings.Join(append(config,
			fmt.Sprintf("ListenAddress 127.0.0.1:%d", s.port), "AuthorizedKeysFile "+filepath.Join(s.dir, "authorized_keys"),
			"PidFile none", "StrictModes no", "UsePAM no", "PermitRootLogin yes", "PasswordAuthentication no", "MaxStartups 100", "LogLevel VERBOSE", ""), "\n"))
		if s.start(t, program) {
			return s
		}
	}
	log, _ := os.ReadFile(s.log)
	t.Fatalf("sshd does not start:\n%s", log)
	return nil
}

func (s *server) start(t *testing.T, program string) bool {
	cmd := exec.Command(program, "-D", "-e", "-f", filepath.Join(s.dir, "sshd_config"))
	log, err := os.Create(s.log)
	must(t, err)
	cmd.Stderr = log
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	stop := func() { _ = cmd.Process.Kill(); <-ended; log.Close() }
	for range 100 {
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port)); err == nil {
			c.Close()
			t.Cleanup(stop)
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(50 * time.Millisecond):
		}
	}
	stop()
	return false
}

func findSSHD(t *testing.T) string {
	t.Helper()
	for _, p := range []string{"/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"} {
		if !exists(p) {
			continue
		}
		if os.Getuid() == 0 { // sshd insists on this folder when root starts it
			if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
				t.Skipf("sshd cannot be started: %v", err)
			}
		}
		return p
	}
	t.Skip("there is no sshd on this machine")
	return ""
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func me(t *testing.T) string {
	t.Helper()
	u, err := whoAmI()
	must(t, err)
	return u.Username
}

// setup is a client's folder: an ssh_config for alias "box" and a known_hosts, both as the test wants them.
func (s *server) setup(t *testing.T, config, knownHosts string) (configFile, knownFile string) {
	t.Helper()
	dir := t.TempDir()
	configFile, knownFile = filepath.Join(dir, "config"), filepath.Join(dir, "known_hosts")
	write(t, knownFile, knownHosts)
	write(t, configFile, fmt.Sprintf("%s\nHost box\n HostName 127.0.0.1\n Port %d\n User %s\nHost *\n IdentityFile %s\n IdentityAgent none\n UserKnownHostsFile %s\n GlobalKnownHostsFile none\n",
		config, s.port, s.user, s.client.path, knownFile))
	return configFile, knownFile
}

// sshSays runs the real ssh and returns whether it logged in, and its words.
func sshSays(t *testing.T, configFile, host string, args ...string) (bool, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ssh", append(append([]string{"-F", configFile, "-o", "BatchMode=yes"}, args...), "--", host, "true")...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd.Run() == nil, out.String()
}

// logIn connects and runs a command, which proves that the connection is of use.
func logIn(t *testing.T, host string, o Options) (*Conn, error) {
	t.Helper()
	c, err := connect(t, host, o)
	if err == nil {
		run(t, c)
	}
	return c, err
}

// connect connects, for tests of many cases where logging in is what matters.
func connect(t *testing.T, host string, o Options) (*Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	c, err := Connect(ctx, host, o)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	return c, nil
}

func run(t *testing.T, c *Conn) {
	t.Helper()
	session, err := c.NewSession()
	must(t, err)
	defer session.Close()
	out, err := session.Output("echo hello")
	must(t, err)
	if string(out) != "hello\n" {
		t.Fatalf("the host says %q", out)
	}
}

// withoutSSH hides the ssh binary, so that the configuration is read by ourselves.
func withoutSSH(t *testing.T) { t.Setenv("PATH", t.TempDir()) }

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
