//go:build linux

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// programs are the files that an engine consists of.
type programs struct {
	daemon     string // dockerd or podman
	containerd string
	path       string // PATH of the engine: where it finds runc
}

// findEngine finds the programs of a kind of engine, or says with an Unavailable what is missing.
func findEngine(k Kind) (programs, error) {
	part := "the engine " + string(k)
	if err := needRoot(part); err != nil {
		return programs{}, err
	}
	const install = ": run scripts/install-lab.sh"
	if k == Podman {
		p, ok := findProgram("podman")
		if !ok {
			return programs{}, &Unavailable{Part: part, Reason: "podman is not installed" + install}
		}
		return programs{daemon: p, path: systemPath}, nil
	}
	p := programs{path: systemPath}
	var ok bool
	if p.containerd, ok = findProgram("containerd"); !ok {
		return p, &Unavailable{Part: part, Reason: "containerd is not installed" + install}
	}
	if _, ok := findProgram("docker"); !ok {
		return p, &Unavailable{Part: part, Reason: "the docker command is not installed" + install}
	}
	if k == Docker2010 {
		if p.daemon, ok = findProgram("dockerd"); !ok {
			return p, &Unavailable{Part: part, Reason: "dockerd is not installed" + install}
		}
		// From 29 on the containerd store is the default, and what this kind is for is no longer there.
		if v := dockerVersion(p.daemon); v.major >= 29 {
			return p, &Unavailable{Part: part, Reason: fmt.Sprintf("%s is Docker %s, not the distribution's 20.10", p.daemon, v.text)}
		}
		return p, nil
	}
	if p.daemon, ok = findCached("dockerd"); !ok {
		return p, &Unavailable{Part: part, Reason: "there is no modern dockerd in " + CacheDir() + "/bin" + install}
	}
	if _, ok := findCached("runc"); !ok {
		return p, &Unavailable{Part: part, Reason: "there is no modern runc in " + CacheDir() + "/bin" + install}
	}
	p.path = filepath.Join(CacheDir(), "bin") + ":" + systemPath
	return p, nil
}

// A version of dockerd, as it says itself: "Docker version 20.10.24+dfsg1, build 5d6db84".
type version struct {
	major int
	text  string
}

var versions sync.Map // program to version

func dockerVersion(program string) version {
	if v, ok := versions.Load(program); ok {
		return v.(version)
	}
	var v version
	out, _ := exec.Command(program, "--version").Output()
	_, rest, _ := strings.Cut(string(out), "Docker version ")
	v.text, _, _ = strings.Cut(rest, ",")
	first, _, _ := strings.Cut(v.text, ".")
	v.major, _ = strconv.Atoi(first) // 0 for what does not say it: nothing is known against it
	versions.Store(program, v)
	return v
}

// launch starts the processes of the engine, and returns before it answers.
func (e *Engine) launch() (err error) {
	if e.Kind == Podman {
		return e.launchPodman()
	}
	// A containerd of our own: dockerd would else use the machine's, where there is one.
	if err := e.launchContainerd(); err != nil {
		return err
	}
	config := filepath.Join(e.Dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}\n"), 0o644); err != nil {
		return err
	}
	argv := []string{
		e.programs.daemon, "--config-file", config, "--containerd", e.containerdSocket(),
		"--data-root", e.DataRoot, "--exec-root", filepath.Join(e.Dir, "exec"),
		"--pidfile", filepath.Join(e.Dir, "docker.pid"), "--host", e.Host(), "--group", strconv.Itoa(DockerGID),
		"--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
	}
	switch e.Kind {
	case ModernGraphdriver:
		argv = append(argv, "--feature=containerd-snapshotter=false")
	case ModernContainerd:
		argv = append(argv, "--feature=containerd-snapshotter=true")
	}
	e.daemon, err = e.lab.start(e.Name, e.env(), append(argv, e.opts.Args...)...)
	return err
}

func (e *Engine) env() []string {
	return append([]string{"PATH=" + e.programs.path, "HOME=" + e.Dir, "LC_ALL=C.UTF-8"}, e.opts.Env...)
}

func (e *Engine) containerdSocket() string { return filepath.Join(e.Dir, "cd.sock") }

// launchContainerd starts the engine's containerd, its content below the data root, and waits for its socket.
func (e *Engine) launchContainerd() (err error) {
	socket := e.containerdSocket()
	os.Remove(socket)
	config := filepath.Join(e.Dir, "containerd.toml")
	text := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = %q
`, filepath.Join(e.DataRoot, "containerd", "daemon"), filepath.Join(e.Dir, "cd"), socket)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return err
	}
	e.containerd, err = e.lab.start(e.Name+".containerd", e.env(), e.programs.containerd, "--config", config)
	if err != nil {
		return err
	}
	return e.containerd.await(20*time.Second, func() error {
		_, err := os.Stat(socket)
		return err
	})
}

// launchPodman starts podman's service with a store and a configuration of its own.
func (e *Engine) launchPodman() (err error) {
	os.Remove(e.Socket)
	// The limits are podman's choice for containers; its default is above what we may ask for on some machines.
	text := "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n[containers]\nlog_driver = \"k8s-file\"\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n"
	if err := os.WriteFile(filepath.Join(e.Dir, "containers.conf"), []byte(text), 0o644); err != nil {
		return err
	}
	argv := append(e.podman("system", "service", "--time=0"), e.opts.Args...)
	e.daemon, err = e.lab.start(e.Name, e.podmanEnv(), append(argv, e.Host())...)
	return err
}

// podman returns a podman command line for the store of this engine.
func (e *Engine) podman(args ...string) []string {
	return append([]string{e.programs.daemon, "--root", e.DataRoot, "--runroot", filepath.Join(e.Dir, "exec"),
		"--tmpdir", filepath.Join(e.Dir, "tmp")}, args...)
}

func (e *Engine) podmanEnv() []string {
	return append(e.env(), "CONTAINERS_CONF="+filepath.Join(e.Dir, "containers.conf"), "TMPDIR="+e.Dir)
}
