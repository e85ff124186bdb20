package engine

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// tlsFromDir makes TLS settings of ca.pem, cert.pem and key.pem in dir, those that are there. It returns nil when none is
// there and insecure is false. With insecure the server's certificate is not checked, as the user's docker settings ask.
func tlsFromDir(dir string, insecure bool) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: insecure}
	found := insecure
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err == nil {
		found = true
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(ca) {
			return nil, manifest.Fail(manifest.KindUsage, "find engine", "%s holds no certificate", filepath.Join(dir, "ca.pem"))
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, manifest.Fail(manifest.KindUsage, "find engine", "%w", err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err == nil {
		found = true
		config.Certificates = []tls.Certificate{pair}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, manifest.Fail(manifest.KindUsage, "find engine", "client certificate in %s: %w", dir, err)
	}
	if !found {
		return nil, nil
	}
	return config, nil
}
