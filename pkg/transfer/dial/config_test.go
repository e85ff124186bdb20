package dial

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// configs are read by ssh -G and by ourselves, and have to mean the same for these hosts.
var configs = []struct {
	name, text string
	hosts      []string
	options    Options
	warn       string // a warning that reading it ourselves gives; then the results may differ
}{
	{name: "empty", hosts: []string{"box", "user@BOX:2200", "::1", "ssh://me@box:33"}},
	{name: "options win", options: Options{Port: 77, Identities: []string{"/etc/passwd", "/nonexistent/k2"}, Jump: "j1,me@j2:22", SSHOptions: []string{"User=opt", "HostKeyAlias = Al", "identityfile=/k3"}},
		text: "Host *\n Port 5\n User file\n ProxyJump other\n IdentityFile /k4\n", hosts: []string{"box", "me@box"}},
	{name: "first wins", text: "Host b*\n Port 5\nHost box\n Port 6\n User x\nHost *\n User y\n", hosts: []string{"box", "bay", "cat"}},
	{name: "negation", text: "Host *.example !bad.example\n Port 9\n", hosts: []string{"a.example", "bad.example", "example"}},
	{name: "question mark", text: "Host bo?\n Port 9\n", hosts: []string{"box", "bo", "boxx"}},
	{name: "spellings", text: "  host=box\n\tPORT = 99 # why\n user \"a b\"\nIdentityFile=\"/tmp/a b\"   \n identityfile '/tmp/c # d'\nuserknownhostsfile /x \"/tmp/y\" # none\nHost \"quoted\" box2\nPort 7\r\n", hosts: []string{"quoted", "box2"}},
	{name: "tokens", text: "Host *\n HostName %h.Example.COM\n IdentityFile ~/.ssh/%h_%r_%n_%p_%u%%\n IdentityFile ${DIAL_TEST}/x\n IdentityFile %d/y\n CertificateFile ~/%k-cert.pub\n UserKnownHostsFile ~/kh_%h /z/%n\n User me\n", hosts: []string{"box"}},
	{name: "ssh-agent", text: "Host a\n IdentityAgent none\nHost b\n IdentityAgent SSH_AUTH_SOCK\nHost c\n IdentityAgent ~/agent_%h\nHost *\n IdentitiesOnly yes\n IdentityFile none\n", hosts: []string{"a", "b", "c"}},
	{name: "timing", text: "ConnectTimeout 7\nServerAliveInterval 9\nServerAliveCountMax 2\nStrictHostKeyChecking no\nHashKnownHosts yes\n", hosts: []string{"box"}},
	{name: "methods", text: "PreferredAuthentications password,publickey\nPubkeyAuthentication no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nBatchMode yes\nAddressFamily inet6\nBindAddress 127.0.0.1\n", hosts: []string{"box"}},
	{name: "jump and command", text: "Host a\n ProxyJump none\nHost b\n ProxyCommand nc %h  \"%p\"\nHost c\n ProxyCommand none\nHost *\n ProxyJump jump\n", hosts: []string{"a", "b", "c", "d"}},
	{name: "match", text: "Match host box user you\n Port 1\nMatch originalhost box,cat !user me\n Port 2\nMatch all\n User late\nMatch host *.real\n Port 3\nHost cat\n HostName cat.real\n", hosts: []string{"box", "me@box", "you@box", "cat", "me@cat", "dog"}},
	{name: "match localuser", text: "Match localuser nobody-like-this\n Port 1\nMatch !localuser nobody-like-this\n Port 2\n", hosts: []string{"box"}},
	{name: "include", text: "Host box\n Include DIR/inc/*.conf\n Port 3\nInclude DIR/user\nInclude DIR/missing\n", hosts: []string{"box", "cat", "dog"}},
	{name: "algorithms", text: "HostKeyAlgorithms ssh-ed25519,rsa-sha2-512\nCiphers aes256-ctr\nKexAlgorithms curve25519-sha256\nMACs hmac-sha2-256\nPubkeyAcceptedAlgorithms ssh-ed25519\n", hosts: []string{"box"}},
	{name: "match exec", text: "Host *\n Port 4\nMatch exec \"true\"\n User x\nHost box\n IdentityFile /k\n", hosts: []string{"box"}, warn: ":3: this Match block is left out, \"exec\" needs ssh itself"},
	{name: "match final", text: "Match final all\n User x\nHost *\n Port 4\n", hosts: []string{"box"}, warn: ":1: this Match block is left out, \"final\" needs ssh itself"},
	{name: "no value", text: "Host *\n Port 4\n Nonsense\n", hosts: nil, warn: ":3: nonsense without a value left out"},
}

func TestParserAgreesWithSSH(t *testing.T) {
	ssh, noSSH := exec.LookPath("ssh")
	if noSSH != nil {
		t.Log("not compared: there is no ssh on this machine")
	}
	t.Setenv("DIAL_TEST", "/env")
	for _, c := range configs {
		t.Run(c.name, func(t *testing.T) {
			o := c.options
			o.ConfigFile = writeConfig(t, c.text)
			for _, name := range append(c.hosts, "last") {
				asked, err := ParseHost(name)
				must(t, err)
				ours, warnings := settled(t, asked, o, parseConfig)
				if c.warn != "" {
					if !slices.Contains(warnings, o.ConfigFile+c.warn) {
						t.Errorf("no warning %q in %q", c.warn, warnings)
					}
					continue
				}
				if noSSH != nil {
					continue
				}
				theirs, _ := settled(t, asked, o, func(h Host, o Options, _ func(string)) (values, error) {
					return askSSH(t.Context(), ssh, append(flags(h, o), "--", h.Name))
				})
				compare(t, name, theirs, ours)
			}
		})
	}
}

func writeConfig(t *testing.T, text string) string {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "inc"), 0o700))
	write(t, filepath.Join(dir, "inc", "1.conf"), "User one\nHost cat\n Port 8\nHost *\n ServerAliveInterval 3\n")
	write(t, filepath.Join(dir, "inc", "2.conf"), "User two\nIdentityFile /two\n")
	write(t, filepath.Join(dir, "user"), "ConnectTimeout 4\nHost dog\n User included\n")
	file := filepath.Join(dir, "config")
	write(t, file, strings.ReplaceAll(text, "DIR", dir))
	return file
}

func settled(t *testing.T, asked Host, o Options, read func(Host, Options, func(string)) (values, error)) (settings, []string) {
	t.Helper()
	var warnings []string
	warn := func(w string) { warnings = append(warnings, w) }
	v, err := read(asked, o, warn)
	must(t, err)
	s, err := settle(v, asked, warn)
	must(t, err)
	return s, warnings
}

// compare leaves out what only ssh knows: its own lists of algorithms, and default keys of kinds we cannot read.
func compare(t *testing.T, name string, theirs, ours settings) {
	t.Helper()
	theirs.identities = slices.DeleteFunc(theirs.identities, func(p string) bool {
		return slices.Contains([]string{"id_ecdsa_sk", "id_ed25519_sk", "id_xmss", "id_dsa"}, filepath.Base(p))
	})
	for _, l := range [][2]*[]string{{&theirs.hostKeys, &ours.hostKeys}, {&theirs.keyTypes, &ours.keyTypes}, {&theirs.ciphers, &ours.ciphers}, {&theirs.exchanges, &ours.exchanges}, {&theirs.macs, &ours.macs}} {
		if len(*l[1]) == 0 {
			*l[0] = nil
		}
	}
	a, b := reflect.ValueOf(theirs), reflect.ValueOf(ours)
	for i := range a.NumField() {
		if x, y := fmt.Sprintf("%v", a.Field(i)), fmt.Sprintf("%v", b.Field(i)); x != y {
			t.Errorf("%s: %s is %s for ssh and %s for us", name, a.Type().Field(i).Name, x, y)
		}
	}
}

func TestIncludeCircle(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	write(t, file, "Include "+file+"\nUser me\n")
	s, warnings := settled(t, Host{Name: "box"}, Options{ConfigFile: file}, parseConfig)
	if s.user != "me" || len(warnings) == 0 {
		t.Errorf("user %q, warnings %q", s.user, warnings)
	}
}

func TestBrokenConfiguration(t *testing.T) {
	for _, c := range []struct {
		name, text string
		options    Options
		withSSH    bool
	}{
		{name: "missing file", options: Options{ConfigFile: "/nonexistent/config"}},
		{name: "bad port", text: "Port many\n"},
		{name: "no such port", text: "Port 70000\n"},
		{name: "unknown keyword", text: "WhatIsThis yes\n", withSSH: true},
		{name: "host with shell letters", text: "HostName $(touch x)\n"},
		{name: "user with dash", text: "User -oProxyCommand\n"},
		{name: "option without value", options: Options{SSHOptions: []string{"-F/etc/passwd"}}},
		{name: "option with line end", options: Options{SSHOptions: []string{"User=x\nProxyCommand=y"}}},
		{name: "jump host that is none", text: "ProxyJump -x\n"},
		{name: "circle", text: "ProxyJump a\nHost a\n ProxyJump b\nHost b\n ProxyJump a\n"},
		{name: "jump through itself", text: "ProxyJump bastion\n"},
		{name: "descriptor passing", text: "ProxyCommand x\nProxyUseFdpass yes\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := c.options
			if o.ConfigFile == "" {
				o.ConfigFile = writeConfig(t, c.text)
			}
			_, err := Connect(t.Context(), "box", o)
			checkKind(t, err, manifest.KindUsage)
			if c.withSSH {
				return
			}
			withoutSSH(t)
			_, err = Connect(t.Context(), "box", o)
			checkKind(t, err, manifest.KindUsage)
		})
	}
}

func TestSplitPaths(t *testing.T) {
	dir := t.TempDir()
	for in, want := range map[string][]string{
		"/a /b":             {"/a", "/b"},
		"~/a ~/b none":      {"~/a", "~/b", "none"},
		"/home/John S/k /b": {"/home/John S/k", "/b"},
		"":                  nil,
		"relative other":    {"relative", "other"},
		"/a " + dir:         {"/a", dir},
	} {
		if got := splitPaths(in); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	for in, want := range map[string][]string{
		`a  b`: {"a", "b"}, `"a b" c`: {"a b", "c"}, `a"b c"d`: {"ab cd"}, `'a b' # x`: {"a b"}, `a#b`: {"a#b"}, `""`: {""}, ``: nil, `\"a`: {`"a`}, `C:\x\y`: {`C:\x\y`},
	} {
		if got := words(in); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
