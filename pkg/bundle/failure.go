package bundle

import (
	"context"
	"errors"
	"io/fs"

	"github.com/clara-push/clara-push/pkg/manifest"
)

const stepRead = "read bundle"

// malformed is the failure of a bundle that is not as document.go has it.
func malformed(format string, args ...any) *manifest.Failure {
	return manifest.Fail(manifest.KindMalformed, stepRead, format, args...).
		Advise("do not use it; have it made again with clara-push bundle, and ask where this one has been")
}

// hintOther is for what never was a bundle: a wrong name is likelier than a wicked maker.
const hintOther = "name what clara-push bundle has written, as it was written; clara-push bundle --image PATH puts an archive of docker save into one"

// damaged is the failure of a bundle whose bytes are not those that it was made with.
func damaged(format string, args ...any) *manifest.Failure {
	return manifest.Fail(manifest.KindIntegrity, stepRead, format, args...).
		Advise("copy it again from where it was made; clara-push verify names every blob that is damaged")
}

// cut is the failure of a bundle that ends too early.
func cut(format string, args ...any) *manifest.Failure {
	return manifest.Fail(manifest.KindIntegrity, stepRead, format, args...).
		Advise("it was not copied to its end; copy it again, and eject the medium before it is pulled")
}

// unreadable is the failure of a medium that does not give its bytes.
func unreadable(err error) *manifest.Failure {
	return manifest.Fail(manifest.KindIntegrity, stepRead, "%w", err).Advise("the medium may be broken; copy the bundle to another one")
}

// stopped is the failure of a reading whose context ended.
func stopped(ctx context.Context) error {
	return manifest.Fail(manifest.KindInterrupted, stepRead, "%w", context.Cause(ctx))
}

// refusal is what OpenOptions.Admit failed with: no failure of the bundle, and nothing is added to it.
type refusal struct{ error }

// inBundle says which bundle a failure is about. What package manifest says of a model's names is, here, a bundle that nobody
// should have made. Nil stays nil.
func inBundle(err error, path string) error {
	var no refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &no):
		return no.error
	}
	g := *asFailure(err)
	g.Step = stepRead + " " + path
	if g.Kind == manifest.KindModel || g.Kind == manifest.KindMalformed && g.Hint == "" {
		g.Kind, g.Hint = manifest.KindMalformed, malformed("").Hint
	}
	return &g
}

// asFailure makes a failure of what the system said.
func asFailure(err error) *manifest.Failure {
	var f *manifest.Failure
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, fs.ErrPermission):
		return manifest.Fail(manifest.KindPermission, "", "%w", err).Advise("have this user given the right to read it, or be the one who has it (sudo)")
	case errors.Is(err, fs.ErrNotExist):
		return manifest.Fail(manifest.KindNotFound, "", "%w", err)
	}
	return unreadable(err)
}
