//go:build linux

package loader

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/clara-push/clara-push/pkg/engine"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// Options say which engine and folder to use. The zero value uses what the docker CLI would use, and StateDir("").
type Options struct {
	EngineHost string // unix:///path/of/docker.sock
	StateDir   string
	NoEngine   bool   // only models are pushed: no engine is looked for
	AnyEngine  bool   // one is used if it is there; what needs one fails later
	Repository string // folder of models; empty: no models are pushed
	Tool       string // version of clara-push, for inventories and receipts
	// Look is for Status alone: a state folder that is not there is not made. (An agent makes it all the same, for its socket.)
	Look bool
}

// A Host is this machine as the target of pushes: its engine, and a state folder with stage, lock and receipts. Apply must
// run once at a time; everything else may run beside it.
type Host struct {
	engine *engine.Engine // nil with NoEngine, and perhaps with AnyEngine
	lacks  error          // why there is no engine
	stage  *Stage
	models *models            // nil without Repository
	others map[string]*models // repositories that receipts speak of, by path
	dir    string
	tool   string

	hearing sync.Mutex
	said    []string // what was found in the middle, and how it was ended
}

// Open connects to the engine and opens the state folder, and completes what a process that died left in the middle. It
// fails with KindPermission when there is no engine, or no right to use it or the folder.
func Open(ctx context.Context, o Options) (*Host, error) {
	h := &Host{tool: o.Tool}
	err := h.open(ctx, o)
	if err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

func (h *Host) open(ctx context.Context, o Options) (err error) {
	if !o.NoEngine {
		h.engine, err = engine.Find(ctx, o.EngineHost)
		if err != nil && (!o.AnyEngine || ctx.Err() != nil) {
			return err
		}
		h.lacks = err
	}
	if err := h.openState(o); err != nil {
		return err
	}
	if o.Repository != "" {
		if h.models, err = openModels(o.Repository); err != nil {
			return err
		}
	}
	if err := h.recover(ctx); err != nil {
		return err
	}
	return h.models.mend()
}

// openState opens the state folder and its stage.
func (h *Host) openState(o Options) (err error) {
	if h.dir, err = statePath(o.StateDir); err != nil {
		return err
	}
	if _, err := os.Lstat(h.dir); o.Look && errors.Is(err, fs.ErrNotExist) {
		h.stage = stageAt(h.dir)
		return nil
	}
	if h.dir, err = StateDir(h.dir); err != nil {
		return err
	}
	h.stage, err = openStage(h.dir)
	return err
}

// say notes what a person should hear, each text once.
func (h *Host) say(texts ...string) {
	h.hearing.Lock()
	defer h.hearing.Unlock()
	for _, text := range texts {
		if !slices.Contains(h.said, text) {
			h.said = append(h.said, text)
		}
	}
}

// heard is all that a person should hear.
func (h *Host) heard() []string {
	h.hearing.Lock()
	defer h.hearing.Unlock()
	return slices.Clone(h.said)
}

// noEngine fails with the reason why there is no engine.
func (h *Host) noEngine() error {
	if h.lacks != nil {
		return h.lacks
	}
	return manifest.Fail(manifest.KindPermission, "find engine", "this is about images, and no engine was looked for")
}

// Close drops the connection to the engine and lets go of the stage. Closing twice is no error.
func (h *Host) Close() error {
	var errs []error
	if h.stage != nil {
		errs = append(errs, h.stage.Close())
	}
	for _, m := range append(slices.Collect(maps.Values(h.others)), h.models) {
		if m != nil && m.stage != nil {
			m.stage.close()
		}
	}
	if h.engine != nil {
		errs = append(errs, h.engine.Close())
	}
	return errors.Join(errs...)
}

// Engine says what the host's engine is.
func (h *Host) Engine() manifest.Engine {
	if h.engine == nil {
		return manifest.Engine{}
	}
	return h.engine.Describe()
}

// Platform is the platform that the host's engine runs images for; without an engine this machine's.
func (h *Host) Platform() manifest.Platform {
	if h.engine == nil {
		return manifest.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}
	}
	return h.engine.Describe().Platform
}

// StateDir makes sure that the state folder is there, for this user alone, and returns its path: dir, or when that is
// empty /var/lib/clara-push for root, else clara-push below $XDG_STATE_HOME or ~/.local/state.
func StateDir(dir string) (string, error) {
	dir, err := statePath(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", stageFailure("open state folder", err)
	}
	return dir, checkPrivate(dir)
}

// statePath is the path of the state folder, which may not be there yet.
func statePath(dir string) (string, error) {
	if dir == "" {
		var err error
		if dir, err = defaultStateDir(); err != nil {
			return "", stageFailure("find state folder", err)
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", stageFailure("open state folder", err)
	}
	return dir, nil
}

// checkPrivate refuses a state folder in which anybody could plant chunks, locks and receipts.
func checkPrivate(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return stageFailure("open state folder", err)
	}
	if info.Mode().Perm()&0o002 != 0 {
		return manifest.Fail(manifest.KindPermission, "open state folder", "everybody may write to %s", dir).
			Advise("take that right away (chmod o-w %s), or name another folder with --state-dir", dir)
	}
	return nil
}

func defaultStateDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/clara-push", nil
	}
	if state := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "clara-push"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".local", "state", "clara-push"), nil
}

// userName is whom this process runs as; under sudo also who called it.
func userName() string {
	name := ""
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if by := os.Getenv("SUDO_USER"); by != "" && by != name {
		name += " (sudo by " + manifest.Plain(by) + ")"
	}
	return name
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return manifest.Plain(name)
}
