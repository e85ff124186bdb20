package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/clara-push/clara-push/pkg/bundle"
	"github.com/clara-push/clara-push/pkg/bundle/signature"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer"
)

// stdin is how a bundle is called that comes on standard input.
const stdin = "-"

// trusted is a bundle that may be used, by the policy of this site.
type trusted struct {
	*bundle.Bundle
	signed signature.Signed
}

// Artifacts implements transfer.Source, and says who signed.
func (t trusted) Artifacts(ctx context.Context, p manifest.Platform) (manifest.Artifacts, error) {
	a, err := t.Bundle.Artifacts(ctx, p)
	if err == nil && a.Provenance != nil {
		from := *a.Provenance
		from.Signer, from.Key = t.signed.Principal, t.signed.Key
		a.Provenance = &from
	}
	return a, err
}

// openBundle opens the bundle at path, or the one that comes on standard input, and checks who made it before anything in
// it is used or kept, and before anything is connected to.
func openBundle(ctx context.Context, path, host string, o loadOptions, ev manifest.Events) (t trusted, err error) {
	policy, err := o.trust.policy()
	if err != nil {
		return t, err
	}
	open := bundle.OpenOptions{Events: ev, Admit: func(_ context.Context, index, sig []byte, created time.Time) (err error) {
		t.signed, err = policy.Check(index, sig, created)
		return err
	}}
	if path == stdin {
		t.Bundle, err = spool(ctx, o.stdin, host, o.stateDir, open)
	} else {
		t.Bundle, err = bundle.Open(ctx, path, open)
	}
	if err != nil {
		return t, err
	}
	if err = t.Select(o.only...); err != nil {
		t.Close()
	}
	return t, err
}

// spool keeps a bundle that can be read only once: where this machine keeps what is on its way, or on its way to a host, in the
// user's cache folder.
func spool(ctx context.Context, r io.Reader, host, stateDir string, o bundle.OpenOptions) (*bundle.Bundle, error) {
	dir, err := transfer.StateDir(stateDir)
	if host != "" {
		if dir, err = os.UserCacheDir(); err == nil {
			dir = filepath.Join(dir, "clara-push")
			err = os.MkdirAll(dir, 0o700)
		}
	}
	if err != nil {
		return nil, err
	}
	return bundle.Spool(ctx, r, dir, o)
}
