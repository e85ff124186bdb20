//go:build linux

package lab

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// An ImageSpec describes an image to be built: a base layer with the hello program, then the other layers in order, the
// last of which carries the message that the program prints.
type ImageSpec struct {
	Name     string  // NAME:TAG
	Message  string  // printed by the program; default Name
	Base     Layer   // images with the same base share it
	Layers   []Layer // default one layer with the message only
	BuildKit bool    // build with BuildKit instead of the classic builder
	Label    string  // value of the label "lab", in the configuration only; default none
}

// epoch is the time of every file in a layer. It is constant so that equal specs give equal layers.
var epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// BuildImage builds the image in the engine with "docker build" and tags it. The base is loaded as an image of its own,
// "lab-base:…", and stays; so a second image on the same base costs only its own layers.
func (l *Lab) BuildImage(ctx context.Context, e *Engine, s ImageSpec) error {
	began := time.Now()
	base := fmt.Sprintf("lab-base:%x", sha256.Sum256(fmt.Appendf(nil, "%+v", s.Base)))[:25]
	if _, err := e.Docker(ctx, "image", "inspect", base); err != nil {
		if err := l.loadBase(ctx, e, base, s.Base); err != nil {
			return fmt.Errorf("load %s: %w", base, err)
		}
	}
	if err := e.build(ctx, base, s); err != nil {
		return fmt.Errorf("build %s: %w", s.Name, err)
	}
	l.Logf("%s: built %s in %v", e.Name, s.Name, time.Since(began).Round(time.Millisecond))
	return nil
}

// RunContainer runs the image's program in a container without a network, and returns what it printed.
func (l *Lab) RunContainer(ctx context.Context, e *Engine, image string) (string, error) {
	args := []string{"run", "--rm", "--network", "none", image}
	if e.Kind != Podman {
		return e.Docker(ctx, args...)
	}
	// The docker command attaches before it starts the container, and podman 4 answers that with 409.
	return e.Podman(ctx, args...)
}

// Podman runs the podman command line on the store of an engine of that kind, and returns its standard output without the last
// line end. The error holds its standard error.
func (e *Engine) Podman(ctx context.Context, args ...string) (string, error) {
	argv := e.podman(args...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(e.podmanEnv(), marker+"="+e.lab.Dir)
	return output(cmd)
}

// Docker runs the docker command line against the engine, with no configuration of the user, and returns its standard
// output without the last line end. The error holds its standard error.
func (e *Engine) Docker(ctx context.Context, args ...string) (string, error) {
	cmd, err := e.DockerCommand(ctx, args...)
	if err != nil {
		return "", err
	}
	return output(cmd)
}

// DockerCommand prepares the docker command line, for pipes.
func (e *Engine) DockerCommand(ctx context.Context, args ...string) (*exec.Cmd, error) {
	docker, ok := findProgram("docker")
	if !ok {
		return nil, &Unavailable{Part: "docker", Reason: "the docker command is not installed"}
	}
	cmd := exec.CommandContext(ctx, docker, args...)
	cmd.Env = []string{"PATH=" + systemPath, "HOME=" + e.Dir, "DOCKER_HOST=" + e.Host(), "DOCKER_BUILDKIT=0", marker + "=" + e.lab.Dir}
	return cmd, nil
}

func output(cmd *exec.Cmd) (string, error) {
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(errOut.String()))
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

// build streams a context to "docker build": the Dockerfile, and a folder l0, l1, … for each layer.
func (e *Engine) build(ctx context.Context, base string, s ImageSpec) error {
	if len(s.Layers) == 0 {
		s.Layers = []Layer{{}}
	}
	if s.Message == "" {
		s.Message = s.Name
	}
	text := "FROM " + base + "\n"
	for i := range s.Layers {
		text += fmt.Sprintf("COPY l%d/ /\n", i)
	}
	if s.Label != "" {
		text += fmt.Sprintf("LABEL lab=%q\n", s.Label)
	}
	cmd, err := e.DockerCommand(ctx, "build", "-t", s.Name, "-")
	if err != nil {
		return err
	}
	if s.BuildKit {
		cmd.Env = append(cmd.Env, "DOCKER_BUILDKIT=1")
	}
	return feed(cmd, func(w io.Writer) error { return writeContext(ctx, w, text, s) })
}

func writeContext(ctx context.Context, w io.Writer, dockerfile string, s ImageSpec) error {
	t := tar.NewWriter(w)
	if err := writeFile(t, textFile("Dockerfile", dockerfile)); err != nil {
		return err
	}
	for i, l := range s.Layers {
		files, err := l.files()
		if err != nil {
			return err
		}
		if i == len(s.Layers)-1 {
			files = append(files, textFile("etc/lab/message", s.Message))
		}
		made := map[string]bool{}
		for _, f := range files {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			f.path = fmt.Sprintf("l%d/%s", i, f.path)
			if err := errors.Join(writeDirs(t, made, path.Dir(f.path)), writeFile(t, f)); err != nil {
				return err
			}
		}
		if err := writeDirs(t, made, fmt.Sprintf("l%d", i)); err != nil {
			return err
		}
	}
	return t.Close()
}

// writeDirs writes the entries of dir and of the folders above it, once each: an engine gives folders that have no
// entry the time of the build, and no two builds would be equal.
func writeDirs(t *tar.Writer, made map[string]bool, dir string) error {
	if dir == "." || made[dir] {
		return nil
	}
	made[dir] = true
	if err := writeDirs(t, made, path.Dir(dir)); err != nil {
		return err
	}
	return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: epoch})
}

func writeFile(t *tar.Writer, f file) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: f.path, Mode: 0o755, Size: f.size, ModTime: epoch}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	r, err := f.open()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(t, r)
	return err
}

func textFile(name, text string) file {
	return file{path: name, size: int64(len(text)), open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(text)), nil
	}}
}

// localFile is a file of this machine under another name.
func localFile(name, from string) (file, error) {
	fi, err := os.Stat(from)
	if err != nil {
		return file{}, err
	}
	return file{path: name, size: fi.Size(), stamp: fi.ModTime().UnixNano(), open: func() (io.ReadCloser, error) { return os.Open(filepath.Clean(from)) }}, nil
}
