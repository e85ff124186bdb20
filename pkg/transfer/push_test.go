package transfer

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Of a target on this machine nothing is said that holds for a wire and a stage only.
func TestWordsForThisMachine(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for _, tt := range []struct {
		dst  Target
		verb string
		kept bool
	}{{&SSH{}, "to send", true}, {&Local{}, "to read", false}} {
		here := isHere(tt.dst)
		var f *manifest.Failure
		if !errors.As(stopped(ctx, context.Canceled, here), &f) || strings.Contains(f.Hint, "kept") != tt.kept || strings.Contains(f.Error(), "the host") != tt.kept {
			t.Errorf("%T: it says %q, the hint is %q", tt.dst, f.Error(), f.Hint)
		}
		if text := describe(manifest.Plan{Sizes: manifest.Sizes{Staged: 1}}, here); !strings.Contains(text, tt.verb) || strings.Contains(text, "sent before") != tt.kept {
			t.Errorf("%T: the plan reads %q", tt.dst, text)
		}
	}
}
