package triton

import (
	"cmp"
	"context"
	"slices"
)

// Served lists the versions that a server would serve of the model directory dir, highest first, when the versions others
// lie beside its own, as those that only the host has. It is empty for a model that no server would serve. Errors are those
// of Check.
func Served(ctx context.Context, dir string, o Options, others []string) ([]int64, error) {
	c, err := check(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	for _, name := range others {
		if n, kind := readVersion(name); kind == versionGood {
			c.versions = append(c.versions, version{number: n})
		}
	}
	slices.SortFunc(c.versions, func(a, b version) int { return cmp.Compare(b.number, a.number) })
	c.applyPolicy()
	var served []int64
	for _, v := range c.served {
		served = append(served, v.number)
	}
	return served, nil
}
