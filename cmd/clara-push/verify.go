package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/clara-push/clara-push/pkg/bundle"
	"github.com/clara-push/clara-push/pkg/bundle/signature"
	"github.com/clara-push/clara-push/pkg/manifest"
)

func newVerify(r *report) *cobra.Command {
	var o trustOptions
	c := &cobra.Command{
		Use:   "verify BUNDLE",
		Short: "Check a bundle: who signed it, and every byte of it",
		Long: `Check a bundle as clara-push load would, and all of it: that it is signed by somebody who may, that it is made as a bundle must be, and
that every blob is what its digest says. Every damaged one is named, and the part of a bundle in parts that is damaged. Nothing is loaded.

Who may sign stands in an allowed_signers file of this site, never in the bundle. Without one, a bundle passes only with
--allow-unsigned.`,
		Example: `  clara-push verify release-1.2.tar
  clara-push verify --allowed-signers /etc/clara-push/allowed_signers /media/stick/release-1.2.tar.001
  clara-push verify --allow-unsigned release-1.2.tar`,
		Args: oneBundle,
		RunE: func(c *cobra.Command, args []string) error { return runVerify(c.Context(), args[0], o, r) },
	}
	addSections(c, section{"Signature", o.addFlags}, r.section())
	return c
}

// verifiedSum is what a check of a bundle found.
type verifiedSum struct {
	Index    manifest.Digest `json:"index"`
	Signer   string          `json:"signer,omitempty"` // principal
	Key      string          `json:"key,omitempty"`    // fingerprint
	JudgedAt string          `json:"judgedAt,omitempty"`
	Blobs    int             `json:"blobs"`
	Size     int64           `json:"size"`
	Lacking  int             `json:"lacking,omitempty"`
	Right    bool            `json:"right"` // every blob is what its digest says
}

func runVerify(ctx context.Context, path string, o trustOptions, r *report) error {
	policy, err := o.policy()
	if err != nil {
		return err
	}
	b, err := bundle.Open(ctx, path, bundle.OpenOptions{Events: r.event})
	if err != nil {
		return err
	}
	defer b.Close()
	began, c := time.Now(), b.Contents()
	sum := &verifiedSum{Index: c.Digest, Blobs: c.Blobs, Size: c.Size, Lacking: c.Lacking}
	r.summary.Verified = sum
	signed, err := policy.Check(b.Index(), b.Signature(), c.Created)
	if err != nil {
		return err
	}
	sum.sign(signed)
	if err := b.Verify(ctx, nil, r.event); err != nil {
		return err
	}
	sum.Right = true
	r.summary.Seconds = time.Since(began).Seconds()
	r.notes(sum.lines(path, signed, time.Since(began)))
	r.warnings(c.Warnings...)
	return nil
}

func (v *verifiedSum) sign(s signature.Signed) {
	v.Signer, v.Key = manifest.Plain(s.Principal), s.Key
	if !s.At.IsZero() {
		v.JudgedAt = s.At.UTC().Format(time.RFC3339)
	}
}

// lines says what was found, for people.
func (v *verifiedSum) lines(path string, s signature.Signed, took time.Duration) []string {
	first := fmt.Sprintf("%s: %s, %s, all right, in %s", path, count(v.Blobs, "blob"), manifest.FormatBytes(v.Size), formatDuration(took))
	if v.Lacking > 0 {
		first += fmt.Sprintf("; %s left out", count(v.Lacking, "blob"))
	}
	lines := []string{first, entry("index", string(v.Index))}
	switch {
	case s.Key == "":
		return append(lines, entry("signed", "by nobody, which --allow-unsigned lets pass"))
	case s.Principal == "":
		lines = append(lines, entry("signed", fmt.Sprintf("with %s %s, which nobody here vouches for and --allow-unsigned lets pass", s.Type, s.Key)))
	default:
		lines = append(lines, entry("signed", fmt.Sprintf("by %s with %s %s (%s)", s.Principal, s.Type, s.Key, s.Line)))
	}
	return append(lines, entry("judged", fmt.Sprintf("as of %s; the clock here says %s", clock(s.At), clock(time.Now()))))
}
