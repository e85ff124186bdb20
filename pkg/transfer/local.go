package transfer

import (
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// LocalOptions say where things land on this machine. The zero value does what most hosts need.
type LocalOptions struct {
	StateDir   string        // for lock and receipts; empty: loader's choice
	EngineHost string        // engine, as unix://…; empty: as the docker command finds it
	NoEngine   bool          // only models are placed: there may be no engine
	AnyEngine  bool          // an engine is used if there is one
	Repository string        // folder of models; empty: no models are placed
	Look       bool          // for Status alone: a state folder that is not there is not made
	LockWait   time.Duration // how long to wait for another push; 0: fail at once
	Version    string        // of this clara-push
	Events     manifest.Events
}
