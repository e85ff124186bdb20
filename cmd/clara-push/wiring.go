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
	here   bool          // nothing was sent: it was for this machine
	took   time.Duration // everything, from the first look for the image on
	server *serverSum    // what the server made of models; nil when it was not asked
}

// push brings images to host. What it returns beside an error is as far as it came.
func push(ctx context.Context, images []string, host string, o imageOptions, ev manifest.Events) (p pushed, err error) {
	began := time.Now()
	defer func() { p.took = time.Since(began) }()
	if err := checkHost(host); err != nil {
		return p, err // before the image is looked for, in registries perhaps
	}
	src, err := source.Open(ctx, images, source.Options{
		As: o.as, Platform: manifest.Platform(o.platform), Engine: o.engine, CacheDir: o.cacheDir, Events: ev,
	})
	if err != nil {
		return p, transfer.OfSource(err)
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
	artifacts, err := src.Artifacts(ctx, manifest.Platform{})
	if err != nil {
		return p, err
	}
	server, err := openServing(ctx, o.serving, artifacts.Models, dst, ev)
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
	if manifest.KindOf(err) == manifest.KindIntegrity {
		src.Distrust() // else the next push would believe it again
	}
	if err == nil && server != nil && !o.dryRun {
		server.served = atOrigin(o.config)
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
		read <- transfer.OfSource(err)
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

// load lands what the bundle at path holds on host, or on this machine when host is empty.
func load(ctx context.Context, path, host string, o loadOptions, ev manifest.Events) (p pushed, err error) {
	began := time.Now()
	p.here = host == ""
	defer func() { p.took = time.Since(began) }()
	if err := checkHost(host); err != nil {
		return p, err
	}
	src, err := openBundle(ctx, path, host, o, ev)
	if err != nil {
		return p, err
	}
	defer src.Close()
	artifacts, err := src.Artifacts(ctx, manifest.Platform{})
	if err != nil {
		return p, err
	}
	if len(artifacts.Models) == 0 {
		o.repository = "" // it need not be there
	}
	o.modelsOnly = len(artifacts.Images) == 0
	dst, err := open(ctx, host, o.connection, ev)
	if err != nil {
		return p, err
	}
	defer dst.Close()
	server, err := openServing(ctx, o.serving, artifacts.Models, dst, ev)
	if err != nil {
		return p, err
	}
	if err := checkSteps(ctx, artifacts.Models, dst, server); err != nil {
		return p, err
	}
	p.Result, err = transfer.Push(ctx, src, dst, transfer.Options{
		Plan: manifest.Options{
			Keep: o.keep, Exact: o.exact, ReuseLayers: o.reuseLayers, MinVersion: o.minVersion, AllowDowngrade: o.allowDowngrade,
		},
		DryRun: o.dryRun, Events: ev,
	})
	if ssh, ok := dst.(*transfer.SSH); ok {
		p.wire = ssh.Wire()
	}
	if err == nil && server != nil && !o.dryRun {
		server.served = servedFrom(src)
		err = server.after(ctx, p.Plan)
		p.server = &server.sum
	}
	return p, err
}

// status asks what was placed on host, and whether it still is.
func status(ctx context.Context, host string, o connection, ev manifest.Events) (manifest.Status, error) {
	return kept(ctx, host, o, ev, func(k site) (manifest.Status, error) { return k.Status(ctx) })
}

// rollback puts back what the last push to host replaced, or the last one of each thing that what names.
func rollback(ctx context.Context, host string, what manifest.Selection, o connection, ev manifest.Events) (manifest.Receipt, error) {
	return kept(ctx, host, o, ev, func(k site) (manifest.Receipt, error) { return k.Rollback(ctx, what) })
}

// remove takes away what was placed on host.
func remove(ctx context.Context, host string, what manifest.Selection, o connection, ev manifest.Events) (manifest.Receipt, error) {
	return kept(ctx, host, o, ev, func(k site) (manifest.Receipt, error) { return k.Remove(ctx, what) })
}

// sweep removes from host's stage what no push holds and nobody touched for age.
func sweep(ctx context.Context, host string, age time.Duration, o connection, ev manifest.Events) (manifest.Swept, error) {
	return kept(ctx, host, o, ev, func(k site) (manifest.Swept, error) { return k.Sweep(ctx, age) })
}

// inventory asks what host is, and what it has as far as q asks.
func inventory(ctx context.Context, host string, q manifest.Query, o connection, ev manifest.Events) (manifest.Inventory, error) {
	return kept(ctx, host, o, ev, func(k site) (manifest.Inventory, error) { return k.Inventory(ctx, q) })
}

// site is a host over SSH, or this machine.
type site interface {
	transfer.Target
	transfer.Keeper
}

// kept opens a site, runs do and closes it.
func kept[T any](ctx context.Context, host string, o connection, ev manifest.Events, do func(site) (T, error)) (T, error) {
	s, err := open(ctx, host, o, ev)
	if err != nil {
		var none T
		return none, err
	}
	defer s.Close()
	return do(s)
}

// open opens a host, or this machine when host is empty.
func open(ctx context.Context, host string, o connection, ev manifest.Events) (site, error) {
	if host != "" {
		return opened(connect(ctx, host, o, ev))
	}
	if o.sudo {
		return nil, manifest.Fail(manifest.KindUsage, "", "--sudo is for a HOST").Advise("run clara-push itself by sudo")
	}
	return opened(transfer.OpenLocal(ctx, transfer.LocalOptions{
		StateDir: o.stateDir, EngineHost: o.hostEngine, NoEngine: o.modelsOnly, AnyEngine: o.anyEngine, Repository: o.repository,
		Look: o.look, LockWait: o.lockTimeout, Version: versionText(), Events: ev,
	}))
}

// opened makes no site of a nil one.
func opened[S site](s S, err error) (site, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// checkHost finds a host that cannot be one, before anything else is done.
func checkHost(host string) error {
	if host == "" {
		return nil
	}
	_, err := dial.ParseHost(host)
	return err
}

func connect(ctx context.Context, host string, o connection, ev manifest.Events) (*transfer.SSH, error) {
	return transfer.Dial(ctx, host, transfer.SSHOptions{
		Dial: dial.Options{
			Identities: o.identities, Port: o.port, Jump: o.jump, SSHOptions: o.sshOptions, ConfigFile: o.config,
			AcceptNew: o.acceptNew, HostFingerprint: o.fingerprint, Prompt: prompter(),
			Warn: func(text string) { ev.Say(manifest.StepWarning, "", text) },
		},
		Agent: o.agent, AgentDir: o.agentDir, Sudo: o.sudo, StateDir: o.stateDir, EngineHost: o.hostEngine,
		NoEngine: o.modelsOnly, AnyEngine: o.anyEngine, Repository: o.repository,
		LockWait: o.lockTimeout, LimitRate: int64(o.limitRate), Version: versionText(), Events: ev,
	})
}
