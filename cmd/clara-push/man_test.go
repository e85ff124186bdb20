package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestManualPages makes the pages as packaging/docs.sh does.
func TestManualPages(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", "-tags", "manual", ".", "man", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, page := range []string{"clara-push", "clara-push-image", "clara-push-check", "clara-push-clean", "clara-push-completion-bash"} {
		if _, err := os.Stat(filepath.Join(dir, page+".1")); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "clara-push-agent.1")); err == nil {
		t.Error("there is a page for the hidden command agent")
	}
	text, err := os.ReadFile(filepath.Join(dir, "clara-push-image.1"))
	if err != nil || !strings.Contains(strings.ReplaceAll(string(text), `\-`, "-"), "accept-new") {
		t.Errorf("the page of image does not tell of --accept-new: %v", err)
	}
}
