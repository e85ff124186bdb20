package transfer

import (
	"errors"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// here stands in the place of a host's name in the failures of a source, so that nobody looks for them on the host.
const here = "this machine"

// OfSource notes that err is a failure of the source: of this machine, not of the host to which a push goes. Nil stays nil.
func OfSource(err error) error {
	var f *manifest.Failure
	if !errors.As(err, &f) {
		return err
	}
	return manifest.On(here, err)
}

// isOfSource reports whether err is a failure of the source.
func isOfSource(err error) bool {
	var f *manifest.Failure
	return errors.As(err, &f) && f.Host == here
}

// plainly leaves out where a failure was, when there is only one place where it could be.
func plainly(err error) error {
	if !isOfSource(err) {
		return err
	}
	return hostless(err)
}

// hostless is the failure in err without a host's name; an error that is none stays as it is.
func hostless(err error) error {
	var f *manifest.Failure
	if !errors.As(err, &f) {
		return err
	}
	g := *f
	g.Host = ""
	return &g
}
