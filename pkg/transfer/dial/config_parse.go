package dial

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// A configReader reads ssh_config files where no ssh is at hand to be asked. It is tolerant: what it does not
// understand it leaves out with a warning that names file and line.
type configReader struct {
	asked  Host
	me     string // who runs this program
	home   string
	values values
	system bool // reading the system's file: relative Includes are looked for in its folder
	depth  int
	warn   func(string)
}

// maxInclude is OpenSSH's limit for Includes within Includes.
const maxInclude = 16

// these keywords collect all their values; of the others the first one found counts.
var collects = map[string]bool{"identityfile": true, "certificatefile": true}

// parseConfig does what ssh -G does: options first, then the user's file, then the system's.
func parseConfig(asked Host, o Options, warn func(string)) (values, error) {
	me, err := whoAmI()
	if err != nil {
		return nil, err
	}
	r := &configReader{asked: asked, me: me.Username, home: me.HomeDir, values: values{}, warn: warn}
	r.options(o)
	if o.ConfigFile != "" {
		if err := r.file(o.ConfigFile, true); err != nil {
			return nil, manifest.Fail(manifest.KindUsage, "read ssh_config", "%w", err)
		}
	} else {
		r.usualFiles()
	}
	return r.finish()
}

func (r *configReader) options(o Options) {
	if r.asked.User != "" {
		r.set("user", r.asked.User)
	}
	if port := portOf(r.asked, o); port != 0 {
		r.set("port", fmt.Sprint(port))
	}
	if o.Jump != "" {
		r.set("proxyjump", o.Jump)
	}
	for _, id := range o.Identities {
		if exists(id) { // ssh -i drops others
			r.set("identityfile", id)
		}
	}
	for _, opt := range o.SSHOptions {
		if key, value, ok := splitLine(opt); ok {
			r.keyword(key, value, "--ssh-option")
		}
	}
}

func (r *configReader) usualFiles() {
	system := filepath.Join(systemFolder(), "ssh_config")
	for _, f := range []string{filepath.Join(r.home, ".ssh", "config"), system} {
		r.system = f == system
		if err := r.file(f, true); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.warn("left out: " + err.Error())
		}
	}
}

// file reads one file. It stops looking at lines, other than Host and Match, while active is false.
func (r *configReader) file(path string, active bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	always := active
	lines := bufio.NewScanner(io.LimitReader(f, 4<<20))
	for n := 1; lines.Scan(); n++ {
		key, value, ok := splitLine(lines.Text())
		where := fmt.Sprintf("%s:%d", path, n)
		switch {
		case !ok:
		case key == "host":
			active = always && matchHosts(words(value), r.asked.Name)
		case key == "match":
			active = always && r.match(words(value), where)
		case key == "include":
			r.include(words(value), active, where)
		case active:
			r.keyword(key, value, where)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// include reads other files in place. Inside a block that does not apply they cannot apply either.
func (r *configReader) include(patterns []string, active bool, where string) {
	if r.depth >= maxInclude {
		r.warn(where + ": Include left out, too many within each other")
		return
	}
	r.depth++
	defer func() { r.depth-- }()
	for _, p := range patterns {
		p, err := tokens{'d': r.home, '%': "%"}.path(p)
		if err != nil {
			r.warn(where + ": Include left out: " + err.Error())
			continue
		}
		if !filepath.IsAbs(p) {
			p = filepath.Join(r.folder(), p)
		}
		found, _ := filepath.Glob(p)
		for _, f := range found {
			if err := r.file(f, active); err != nil {
				r.warn(where + ": Include left out: " + err.Error())
			}
		}
	}
}

func (r *configReader) folder() string {
	if r.system {
		return systemFolder()
	}
	return filepath.Join(r.home, ".ssh")
}

func systemFolder() string {
	if runtime.GOOS == "windows" {
		return filepath.Join(os.Getenv("ProgramData"), "ssh")
	}
	return "/etc/ssh"
}

// keyword takes one setting. ProxyCommand is the rest of its line as it stands, the others are words.
func (r *configReader) keyword(key, value, where string) {
	w := words(value)
	if len(w) == 0 {
		r.warn(where + ": " + clean(key) + " without a value left out")
		return
	}
	if key != "proxycommand" {
		value = strings.Join(w, " ")
	}
	if key == "proxyjump" || key == "proxycommand" {
		if r.values.first("proxyjump") != "" || r.values.first("proxycommand") != "" {
			return // whichever comes first wins over the other
		}
	}
	r.set(key, value)
}

func (r *configReader) set(key, value string) {
	if collects[key] || len(r.values[key]) == 0 {
		r.values[key] = append(r.values[key], value)
	}
}

// finish adds what holds where the files say nothing.
func (r *configReader) finish() (values, error) {
	name := r.values.first("hostname")
	if name == "" {
		name = r.asked.Name
	}
	name, err := tokens{'h': r.asked.Name, '%': "%"}.expand(name)
	if err != nil {
		return nil, manifest.Fail(manifest.KindUsage, "read ssh_config", "HostName: %w", err)
	}
	if !isAddress(name) {
		name = strings.ToLower(name)
	}
	r.values["hostname"] = []string{name}
	global := filepath.Join(systemFolder(), "ssh_known_hosts")
	r.set("globalknownhostsfile", global+" "+global+"2")
	r.set("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2")
	if len(r.values["identityfile"]) == 0 {
		r.values["identityfile"] = []string{"~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519"}
	}
	for _, key := range []string{"hostkeyalgorithms", "pubkeyacceptedalgorithms", "ciphers", "kexalgorithms", "macs"} {
		if v := r.values.first(key); v != "" && strings.ContainsAny(v[:1], "+-^") {
			delete(r.values, key) // a change to OpenSSH's own list, which we do not have
		}
	}
	return r.values, nil
}
