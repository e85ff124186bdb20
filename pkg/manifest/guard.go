package manifest

import (
	"cmp"
	"slices"

	"github.com/Masterminds/semver/v3"
)

// CompareVersions orders two versions of an application as Semantic Versioning does (https://semver.org), which puts
// 1.0.0-1 before 1.0.0 and looks at no build metadata. It takes "v1", "1.2", "19.08" and "0.7.2-2010.1" too. ok is false
// when one of the two is no such version: then nobody can tell which is newer.
func CompareVersions(a, b string) (order int, ok bool) {
	va, errA := semver.NewVersion(a)
	vb, errB := semver.NewVersion(b)
	if errA != nil || errB != nil {
		return 0, false
	}
	return va.Compare(vb), true
}

// checkRelease fails with KindPolicy when from is an older release than what the host was loaded with last, or than
// o.MinVersion. A version that cannot be compared counts as too old, unless it is the very same; so does one that a bundle does not
// tell, when MinVersion asks for it.
func checkRelease(from *Provenance, loaded []Release, o Options) error {
	p := Provenance{}
	if from != nil {
		p = *from
	}
	if err := checkMinVersion(p, o.MinVersion); err != nil {
		return err
	}
	i := slices.IndexFunc(loaded, func(r Release) bool { return r.Application == Plain(p.Application) })
	if o.AllowDowngrade || p.Application == "" || i < 0 || loaded[i].Version == p.Version {
		return nil
	}
	last := loaded[i]
	name, was := Plain(p.Application), cmp.Or(Plain(last.Version), "without a version")
	order, ok := CompareVersions(p.Version, last.Version)
	switch {
	case !ok:
		return Fail(KindPolicy, "check version", "whether %s %q is older than %s, which this host was loaded with last, cannot be told", name, Plain(p.Version), was).
			Advise("load it all the same with --allow-downgrade; versions like 1.2.3 can be compared")
	case order < 0:
		return Fail(KindPolicy, "check version", "%s %s is older than %s, which this host was loaded with last (receipt %s)", name, Plain(p.Version), was, Plain(last.Receipt)).
			Advise("take the newer bundle; to go back on purpose, clara-push rollback, or where that has no way back, load this with --allow-downgrade")
	}
	return nil
}

func checkMinVersion(p Provenance, least string) error {
	if least == "" {
		return nil
	}
	if _, err := semver.NewVersion(least); err != nil {
		return Fail(KindUsage, "", "--min-version %q is no version such as 1.2.3", Plain(least))
	}
	order, ok := CompareVersions(p.Version, least)
	switch {
	case p.Version == "":
		return Fail(KindPolicy, "check version", "this does not say which version it is, and at least %s is asked for", Plain(least))
	case !ok:
		return Fail(KindPolicy, "check version", "version %q cannot be compared with %s, which is asked for at least", Plain(p.Version), Plain(least))
	case order < 0:
		return Fail(KindPolicy, "check version", "version %s is older than %s, which is asked for at least", Plain(p.Version), Plain(least)).
			Advise("take a newer bundle")
	}
	return nil
}
