package engine

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
)

// configDir is where the docker CLI keeps its configuration; empty when there is no home.
func configDir() string {
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".docker")
}

// currentContext returns the endpoint of the docker CLI's current context; an empty one for the context "default" or
// when there is no configuration.
func currentContext() (endpoint, error) {
	dir := configDir()
	name := os.Getenv("DOCKER_CONTEXT")
	if name == "" {
		var config struct{ CurrentContext string }
		if err := readJSON(filepath.Join(dir, "config.json"), &config); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return endpoint{}, manifest.Fail(manifest.KindUsage, "find engine", "read docker configuration: %w", err)
		}
		name = config.CurrentContext
	}
	if name == "" || name == "default" {
		return endpoint{}, nil
	}
	return contextEndpoint(dir, name)
}

// contextEndpoint reads a context of the docker CLI; it lies under the hash of its name.
func contextEndpoint(dir, name string) (endpoint, error) {
	id := digest.FromString(name).Encoded()
	var meta struct {
		Endpoints map[string]struct {
			Host          string
			SkipTLSVerify bool
		}
	}
	if err := readJSON(filepath.Join(dir, "contexts", "meta", id, "meta.json"), &meta); err != nil {
		return endpoint{}, manifest.Fail(manifest.KindUsage, "find engine", "docker context %s: %w", manifest.Plain(name), err).
			Advise("see docker context ls; DOCKER_CONTEXT=default uses the default socket")
	}
	ep := meta.Endpoints["docker"]
	if ep.Host == "" {
		return endpoint{}, nil
	}
	config, err := tlsFromDir(filepath.Join(dir, "contexts", "tls", id, "docker"), ep.SkipTLSVerify)
	if err != nil {
		return endpoint{}, err
	}
	return place(ep.Host, config)
}

// tlsFromEnv returns the TLS settings of the variables that the docker CLI reads; nil when they ask for none.
func tlsFromEnv() (*tls.Config, error) {
	verify := os.Getenv("DOCKER_TLS_VERIFY") != ""
	if !verify && os.Getenv("DOCKER_TLS") == "" {
		return nil, nil
	}
	dir := os.Getenv("DOCKER_CERT_PATH")
	if dir == "" {
		dir = configDir()
	}
	config, err := tlsFromDir(dir, !verify)
	if config == nil && err == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: !verify} // as the docker CLI does with DOCKER_TLS
	}
	return config, err
}

func readJSON(path string, v any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, v)
}
