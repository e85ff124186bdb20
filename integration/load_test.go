//go:build linux

package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/integration/lab"
)

// A hospital is a machine without a network: an engine, a repository of models, and clara-push, which nobody can reach.
type hospital struct {
	t       testing.TB
	engine  *lab.Engine
	home    string
	state   string
	repo    string
	signers string // allowed_signers
}

// newHospital has nothing of clara-push yet. Its engine is its own.
func newHospital(t *testing.T, k lab.Kind) *hospital {
	t.Helper()
	parent, err := os.MkdirTemp(theLab(t).Dir, "clara-")
	must(t, err)
	h := &hospital{t: t, engine: newEngine(t, k, lab.EngineOptions{}), home: t.TempDir(), state: filepath.Join(parent, "state"), repo: filepath.Join(parent, "models")}
	must(t, os.Mkdir(h.repo, 0o755))
	return h
}

// run runs a command of clara-push in a network namespace that has no routes and no address, and reads its summary.
func (h *hospital) run(command string, args ...string) (summary map[string]any, code int) {
	h.t.Helper()
	flags := []string{"--net", program(h.t), command, "--json", "--state-dir", h.state, "--host-engine", h.engine.Host()}
	switch command {
	case "load":
		flags = append(flags, "--allowed-signers", h.signers, "--repository", h.repo)
	case "rollback", "remove", "check":
		flags = append(flags, "--repository", h.repo)
	}
	cmd := exec.Command("unshare", append(flags, args...)...)
	cmd.Dir, cmd.Env = h.home, []string{"PATH=/usr/bin:/bin", "HOME=" + h.home, "CLARA_PUSH_LAB=" + theLab(h.t).Dir}
	var talk bytes.Buffer
	cmd.Stderr = &talk
	out, err := cmd.Output()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		h.t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &summary); err != nil {
		h.t.Fatalf("clara-push %s %v: %v\n%s", command, args, err, talk.String())
	}
	h.t.Logf("clara-push %s %v: %d\n%s", command, args, cmd.ProcessState.ExitCode(), talk.String())
	return summary, cmd.ProcessState.ExitCode()
}

// ends is run that must end with a code.
func (h *hospital) ends(code int, command string, args ...string) map[string]any {
	h.t.Helper()
	summary, got := h.run(command, args...)
	if got != code {
		h.t.Errorf("clara-push %s %v ended with %d, want %d: %v", command, args, got, code, summary["error"])
	}
	return summary
}

// at walks through a summary: at(s, "status", "images", 0, "drift").
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// signingKey makes a key and an allowed_signers file that trusts it.
func signingKey(t testing.TB) (key, signers string) {
	t.Helper()
	dir := t.TempDir()
	key, signers = filepath.Join(dir, "key"), filepath.Join(dir, "allowed_signers")
	out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	public, err := os.ReadFile(key + ".pub")
	must(t, err)
	must(t, os.WriteFile(signers, []byte(`release@vendor.example namespaces="clara-push-bundle" `+string(public)), 0o644))
	return key, signers
}

// A signed bundle of two images that share a base, and a model, is loaded where there is no network: images run, the model is
// placed, and a receipt tells of it. Again there is nothing to do. What somebody changes is seen; a newer bundle is loaded and
// taken back; an older one is refused.
func TestLoadOffline(t *testing.T) {
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skip("unshare, which takes the network away, is not installed")
	}
	for n, k := range []lab.Kind{lab.Docker2010, lab.ModernContainerd} {
		t.Run(string(k), func(t *testing.T) {
			maker := source(t, lab.Docker2010)
			b, h := newBundler(t, maker), newHospital(t, k)
			key, signers := signingKey(t)
			h.signers = signers
			base := lab.Layer{Content: lab.Half, Size: 20 << 20, Seed: uint64(950 + n)}
			one, two := "offline-one:"+string(k), "offline-two:"+string(k)
			bundle := func(version, message string, more ...string) string {
				build(t, maker, lab.ImageSpec{Name: one, Message: message, Base: base})
				build(t, maker, lab.ImageSpec{Name: two, Message: "two " + message, Base: base})
				file := filepath.Join(b.home, version+".tar")
				b.bundle(append([]string{"-o", file, "--application", "liver", "--version", version, "--sign", key,
					"--image", one, "--image", two, "--model", plainModel(t, "offline_liver", "class TritonPythonModel: # "+message+"\n    pass\n")}, more...)...)
				return file
			}
			first := bundle("1.0", "first")
			s := h.ends(0, "load", first)
			runs(t, h.engine, one, "first")
			runs(t, h.engine, two, "two first")
			receipt, _ := at(s, "receipt", "path").(string)
			if raw, err := os.ReadFile(receipt); err != nil || !bytes.Contains(raw, []byte("release@vendor.example")) || !strings.HasPrefix(receipt, h.state) {
				t.Errorf("receipt %s: %v\n%s", receipt, err, raw)
			}
			began := time.Now()
			if s = h.ends(0, "load", first); at(s, "images", 0, "action") != "nothing" || at(s, "models", 0, "place") != "nothing" || at(s, "receipt") != nil {
				t.Errorf("loaded again: %v", s)
			}
			t.Logf("nothing to do: %v", time.Since(began).Round(time.Millisecond))
			if s = h.ends(0, "status"); at(s, "status", "images", 1, "from", "version") != "1.0" || at(s, "status", "models", 0, "from", "signer") != "release@vendor.example" {
				t.Errorf("status %v", s["status"])
			}

			update := bundle("1.1", "second", "--since", first)
			h.ends(0, "load", "--keep", "2", update)
			runs(t, h.engine, one, "second")
			h.ends(18, "load", first)
			runs(t, h.engine, one, "second")
			docker(t, h.engine, "tag", two, one)
			must(t, os.WriteFile(filepath.Join(h.repo, "offline_liver", "config.pbtxt"), []byte("# by hand\n"), 0o644))
			s = h.ends(24, "status")
			if at(s, "status", "images", 0, "drift") != "moved" || at(s, "status", "models", 0, "drift") != "changed" || at(s, "status", "models", 0, "changed", 0) != "config.pbtxt" {
				t.Errorf("status %v", s["status"])
			}
			h.ends(24, "rollback")
			h.ends(0, "load", "--keep", "2", "--only", "image="+one, "--only", "model=offline_liver", bundle("1.1", "second"))
			h.ends(0, "status")
			runs(t, h.engine, one, "second")
			for range 2 { // the repair, and the update
				h.ends(0, "rollback", "--force")
			}
			runs(t, h.engine, one, "first")
			runs(t, h.engine, two, "two first")
			h.ends(0, "load", first)
			s = h.ends(0, "remove", "--image", one, "--image", two, "--model", "offline_liver")
			if left, err := os.ReadDir(h.repo); err != nil || len(left) > 0 || idOf(t, h.engine, one) != "" {
				t.Errorf("left are %v, %v, and the image %s; it says %v", left, err, idOf(t, h.engine, one), s)
			}
			h.ends(21, "rollback")
		})
	}
}

// A differential bundle is refused, with nothing changed, where its base is not; and loads where an inventory said that it is.
func TestLoadDifferential(t *testing.T) {
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skip("unshare, which takes the network away, is not installed")
	}
	maker := source(t, lab.Docker2010)
	for n, k := range []lab.Kind{lab.Docker2010, lab.ModernContainerd} {
		t.Run(string(k), func(t *testing.T) {
			b, full, empty := newBundler(t, maker), newHospital(t, k), newHospital(t, k)
			key, signers := signingKey(t)
			full.signers, empty.signers = signers, signers
			ref, base := "differential:"+string(k), lab.Layer{Content: lab.Random, Size: 8 << 20, Seed: uint64(970 + n)}
			build(t, maker, lab.ImageSpec{Name: ref, Message: "old", Base: base})
			model := plainModel(t, "differential", "class TritonPythonModel:\n    pass\n")
			file := filepath.Join(b.home, "first.tar")
			b.bundle("-o", file, "--sign", key, "--image", ref, "--model", model)
			full.ends(0, "load", file)
			full.ends(0, "check", "--inventory", "site.json")

			build(t, maker, lab.ImageSpec{Name: ref, Message: "new", Base: base})
			must(t, os.WriteFile(filepath.Join(model, "1/model.py"), []byte("class TritonPythonModel: # new\n    pass\n"), 0o644))
			for _, against := range [][]string{{"--since", file}, {"--for", filepath.Join(full.home, "site.json")}} {
				update := filepath.Join(b.home, "update"+against[0]+".tar")
				b.bundle(append([]string{"-o", update, "--sign", key, "--image", ref, "--model", model}, against...)...)
				info, err := os.Stat(update)
				must(t, err)
				t.Logf("%s: %d bytes", against[0], info.Size())
				s := empty.ends(21, "load", update)
				if text, _ := at(s, "error").(string); !strings.Contains(text, ref) || !strings.Contains(text, "lacks") || !strings.Contains(text, "builds on") {
					t.Errorf("it says %v", s)
				}
				if left, err := os.ReadDir(empty.repo); err != nil || len(left) > 0 || len(imagesOf(t, empty.engine)) > 0 {
					t.Errorf("the empty host has %v, %v and %v", left, err, imagesOf(t, empty.engine))
				}
				full.ends(0, "load", update)
				runs(t, full.engine, ref, "new")
				full.ends(0, "rollback")
				runs(t, full.engine, ref, "old")
			}
		})
	}
}
