package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/clara-push/clara-push/pkg/bundle"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// parseFlags reads args as a command with these flags would.
func parseFlags(t *testing.T, add func(*pflag.FlagSet), args string) {
	t.Helper()
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	add(f)
	if err := f.Parse(strings.Fields(args)); err != nil {
		t.Fatal(err)
	}
}

func TestTrustFlags(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", home)
	folder := filepath.Join(home, "clara-push")
	usual, revoked := filepath.Join(folder, "allowed_signers"), filepath.Join(folder, "revoked_signers")
	for _, tt := range []struct {
		args            string
		files           bool     // the user has files in the configuration folder
		signers, listed []string // files that must be in the policy, first
		principal       string
		unsigned        bool
		at              string
		refused         bool
	}{
		{args: ""},
		{args: "", files: true, signers: []string{usual}, listed: []string{revoked}},
		{args: "--allowed-signers x", files: true, signers: []string{"x"}, listed: []string{revoked}},
		{args: "--revoked y", signers: nil, listed: []string{"y"}},
		{args: "--allow-unsigned", unsigned: true},
		{args: "--allow-unsigned", files: true, unsigned: true, signers: []string{usual}, listed: []string{revoked}}, // which Check then refuses
		{args: "--principal rel@example.com", principal: "rel@example.com"},
		{args: "--verify-time 20261122Z", at: "2026-11-22T00:00:00Z"},
		{args: "--verify-time 2026-11-22T14:05:01+01:00", at: "2026-11-22T13:05:01Z"},
		{args: "--allow-unsigned --allowed-signers x", refused: true},
		{args: "--allow-unsigned --principal x", refused: true},
	} {
		if err := errors.Join(os.RemoveAll(folder), os.Mkdir(folder, 0o755)); err != nil {
			t.Fatal(err)
		}
		if tt.files {
			if err := errors.Join(os.WriteFile(usual, nil, 0o644), os.WriteFile(revoked, nil, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		var o trustOptions
		parseFlags(t, o.addFlags, tt.args)
		p, err := o.policy()
		if tt.refused {
			if manifest.KindOf(err) != manifest.KindUsage {
				t.Errorf("%q: %v", tt.args, err)
			}
			continue
		}
		at := ""
		if !p.VerifyTime.IsZero() {
			at = p.VerifyTime.UTC().Format(time.RFC3339)
		}
		if err != nil || p.Namespace != bundle.SignatureNamespace || p.Principal != tt.principal || p.AllowUnsigned != tt.unsigned || at != tt.at ||
			!beginsWith(p.AllowedSigners, tt.signers) || !holdsAll(p.Revoked, tt.listed) {
			t.Errorf("%q: %+v, %v", tt.args, p, err)
		}
	}
}

// The machine that tests run on may have files of its own in /etc.
func beginsWith(got, want []string) bool {
	return len(got) >= len(want) && slices.Equal(got[:len(want)], want)
}

func holdsAll(got, want []string) bool {
	return !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(got, w) })
}

func TestMoment(t *testing.T) {
	for _, bad := range []string{"", "tomorrow", "2026", "20261301", "2026112214", "20261122z1", "-1", "2026-11-22"} {
		var m moment
		if err := m.Set(bad); err == nil || m.String() != "" {
			t.Errorf("%q was taken as %s", bad, &m)
		}
	}
	var m moment
	if err := m.Set("20261122140500Z"); err != nil || m.String() != "2026-11-22T14:05:00Z" {
		t.Errorf("%s, %v", &m, err)
	}
}

func TestSignFlag(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	for _, tt := range []struct {
		args string
		want manifest.Kind
	}{
		{"", ""},
		{"--sign " + filepath.Join(t.TempDir(), "nothing"), manifest.KindNotFound},
		{"--sign SHA256:x", manifest.KindUsage},
		{"--sign SHA256:" + strings.Repeat("A", 43), manifest.KindPolicy}, // there is no agent
	} {
		var o signOptions
		parseFlags(t, o.addFlags, tt.args)
		s, err := o.signer(t.Context())
		if s != nil || manifest.KindOf(err) != tt.want {
			t.Errorf("%q: %v, %v; want %q", tt.args, s, err, tt.want)
		}
	}
}
