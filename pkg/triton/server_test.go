package triton_test

import (
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/triton"
)

// What makes no sense as an address is a matter of usage, and no password gets into a message.
func TestAddresses(t *testing.T) {
	for _, raw := range []string{"ftp://host", "http://", "http://host?x=secret", "http://user:secret@host:8000", "secret@host:8000"} {
		_, err := triton.Dial(t.Context(), raw, nil)
		if manifest.KindOf(err) != manifest.KindUsage {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if strings.Contains(raw, "@") && strings.Contains(err.Error(), "secret") {
			t.Errorf("it tells the secret: %v", err)
		}
	}
}
