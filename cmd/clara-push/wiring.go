package main

import (
	"context"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/source"
	"github.com/clara-push/clara-push/pkg/transfer"
	"github.com/clara-push/clara-push/pkg/transfer/dial"
)

// pushed is what became of a push.
type pushed struct {
	transfer.Result
	wire   int64         // bytes sent over the connection
	took   time.Duration // everything, from the first look for the image on
	server *serverSum    // what the server made of models; nil when it was not asked
}

// push brings images to host. What it returns beside an error is as far as it came.
func push(ctx context.Context, images []string, host string, o imageOptions, ev manifest.Events) (p pushed, err error) {
	began := time.Now()
	defer func() { p.took = time.Since(began) }()
	if _, err := dial.ParseHost(host); err != nil {
		return p, err // before the image is looked for, in registries perhaps
	}
	src, err := source.Open(ctx, images, source.Options{
		As: o.as, Platform: manifest.Platform(o.platform), Engine: o.engine, CacheDir: o.cacheDir, Events: ev,
	})
	if err != nil {
		return p, err
	}
	defer src.Close()
	dst, err := connect(ctx, host, o.connection, ev)
	if err != nil {
		return p, err
	}
	defer dst.Close()
	p.Result, err = transfer.Push(ctx, src, dst, transfer.Options{
		Plan:     manifest.Options{ReuseLayers: o.reuseLayers, AnyPlatform: o.platform.OS != "", Keep: o.keep},
		DryRun:   o.dryRun,
		Platform: manifest.Platform(o.platform),
		Events:   ev,
	})
	p.wire = dst.Wire()
	return p, err
}

// pushModels brings model directories to the repository of host.
func pushModels(ctx context.Context, host string, o modelOptions, l *linted, ev manifest.Events) (p pushed, err error) {
	began := time.Now()
	defer func() { p.took = time.Since(began) }()
	src, dst, err := readAndConnect(ctx, l.dirs, host, o, ev)
	if err != nil {
		return p, err
	}
	defer src.Close()
	defer dst.Close()
	src.Order(l.needs())
	server, err := openServing(ctx, o, src, dst, ev)
	if err != nil {
		return p, err
	}
	if err := l.again(ctx, dst, server); err != nil {
		return p, err
	}
	p.Result, err = transfer.Push(ctx, src, dst, transfer.Options{
		Plan: manifest.Options{Keep: o.keep, Exact: o.exact}, DryRun: o.dryRun, Events: ev,
	})
	p.wire = dst.Wire()
	if err == nil && server != nil && !o.dryRun {
		err = server.after(ctx, p.Plan)
		p.server = &server.sum
	}
	return p, err
}

// readAndConnect reads the models while the connection is made. Of two failures the one of the models counts: it is the
// same tomorrow.
func readAndConnect(ctx context.Context, dirs []string, host string, o modelOptions, ev manifest.Events) (*source.Models, *transfer.SSH, error) {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	var src *source.Models
	read := make(chan error, 1)
	go func() {
		var err error
		src, err = source.OpenModels(reading, dirs, source.ModelOptions{Config: o.config, CacheDir: o.cacheDir, Events: ev})
		read <- err
	}()
	select { // no host is bothered for a folder that is not there
	case err := <-read:
		if err != nil {
			return nil, nil, err
		}
		read <- nil
	case <-time.After(20 * time.Millisecond):
	}
	dst, err := connect(ctx, host, o.connection, ev)
	if failed := <-read; failed != nil {
		if err == nil {
			dst.Close()
		}
		return nil, nil, failed
	}
	return src, dst, err
}

// rollback puts back what the last placement of a model on host replaced.
func rollback(ctx context.Context, host, model string, o connection, ev manifest.Events) (manifest.Receipt, error) {
	dst, err := connect(ctx, host, o, ev)
	if err != nil {
		return manifest.Receipt{}, err
	}
	defer dst.Close()
	return dst.Rollback(ctx, manifest.Selection{Models: []string{model}})
}

// inventory asks what host is, not what it has; of a repository, whether models can be placed there.
func inventory(ctx context.Context, host string, o connection, ev manifest.Events) (manifest.Inventory, error) {
	dst, err := connect(ctx, host, o, ev)
	if err != nil {
		return manifest.Inventory{}, err
	}
	defer dst.Close()
	q := manifest.Query{}
	if o.repository != "" {
		q.Models = &manifest.ModelQuery{}
	}
	return dst.Inventory(ctx, q)
}

// sweep removes from host's stage what no push holds and nobody touched for age.
func sweep(ctx context.Context, host string, age time.Duration, o connection, ev manifest.Events) (manifest.Swept, error) {
	dst, err := connect(ctx, host, o, ev)
	if err != nil {
		return manifest.Swept{}, err
	}
	defer dst.Close()
	return dst.Sweep(ctx, age)
}

func connect(ctx context.Context, host string, o connection, ev manifest.Events) (*transfer.SSH, error) {
	return transfer.Dial(ctx, host, transfer.SSHOptions{
		Dial: dial.Options{
			Identities: o.identities, Port: o.port, Jump: o.jump, SSHOptions: o.sshOptions, ConfigFile: o.config,
			AcceptNew: o.acceptNew, HostFingerprint: o.fingerprint, Prompt: prompter(),
			Warn: func(text string) { ev.Say(manifest.StepWarning, "", text) },
		},
		Agent: o.agent, AgentDir: o.agentDir, Sudo: o.sudo, StateDir: o.stateDir, EngineHost: o.hostEngine,
		NoEngine: o.modelsOnly, Repository: o.repository,
		LockWait: o.lockTimeout, LimitRate: int64(o.limitRate), Version: versionText(), Events: ev,
	})
}
