package engine

import (
	"testing"

	"github.com/moby/moby/api/types/container"
)

func TestOnlyContainersThatNeverRanAreProofs(t *testing.T) {
	tests := []struct {
		state   container.ContainerState
		command string
		want    bool
	}{
		{container.StateCreated, proofCommand, true},
		{container.StateDead, proofCommand, true}, // the engine was killed while it removed it
		{container.StateRunning, proofCommand, false},
		{container.StateExited, proofCommand, false},
		{container.StateCreated, "/app", false}, // its image bears our label
	}
	for _, tt := range tests {
		if got := isProof(container.Summary{State: tt.state, Command: tt.command}); got != tt.want {
			t.Errorf("%s %s: %v", tt.state, tt.command, got)
		}
	}
}
