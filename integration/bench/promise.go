//go:build linux

package main

import "github.com/clara-push/clara-push/integration/lab"

// promise is how many times as long as clara-push a way must take in a row for clara-push to be what it promises; 0 where
// it promises nothing. Less than 1: clara-push may take longer, for it does more.
func promise(r row, w way) float64 {
	switch r.group() {
	case modelGroup:
		return modelPromise(r, w)
	case bundleGroup:
		return bundlePromise(r, w)
	}
	classic := r.pair == pair{lab.Docker2010, lab.Docker2010}
	modern := r.pair == pair{lab.ModernContainerd, lab.ModernContainerd}
	switch {
	case w.name == "scp":
		return 4
	case r.line.name == loopback && r.change == cold:
		switch {
		case classic && w.name == plainPipe:
			return 1 / 1.15
		case modern && w.name == plainPipe:
			return 1.4
		case modern && w.name == "load alone":
			return 1 / 1.2
		}
	case r.line.name == loopback && r.change == top && r.pair.source == lab.ModernContainerd && w.name == plainPipe:
		return 10
	case r.line.name == "100mbit" && r.change == cold && r.pair.source != lab.ModernContainerd:
		switch w.name {
		case plainPipe:
			return 2
		case "zstd -1", "zstd -3":
			return 1 / 1.05
		}
	}
	return 0
}

// modelPromise is promise for models.
func modelPromise(r row, w way) float64 {
	switch {
	case w.name == "rsync -W, sync":
		return 1 / 1.15
	case r.line.name != loopback:
		return map[string]float64{"rsync -a": 1}[w.name]
	}
	return map[string]float64{"tar | ssh": 1. / 2, "scp -r": 3}[w.name]
}

// bundlePromise is promise for bundles.
func bundlePromise(r row, w way) float64 {
	switch {
	case w.name == "sha256sum":
		return 0.7
	case w.name == "docker load" && r.pair.host == lab.Docker2010:
		return 1 / 1.15
	}
	return 0
}

// limit is how many seconds clara-push promises to stay under in a row; 0 where it promises no such thing.
func limit(r row, w way) float64 {
	if r.step == againStep && w.name == claraPush {
		return 3
	}
	return 0
}
