//go:build linux

package loader

import (
	"slices"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// history is what the receipts of this host tell, name by name.
type history struct {
	receipts []manifest.Receipt // newest first
	stories  map[key]*story
	order    []key               // as the names came up
	undone   map[string]int      // changes of a receipt that rollbacks took back
	removed  map[string][]string // names of a receipt that were removed, and with them what it replaced
}

// key is an image's name, or a model and its repository.
type key struct{ repository, name string }

// A story is what became of one name.
type story struct {
	now  *deed  // what it was set to last; nil when it was taken away
	past []deed // pushes that changed it and were not taken back, oldest first
}

// A deed is what one receipt says of one name.
type deed struct {
	key
	act     manifest.Act
	receipt string
	at      time.Time
	from    *manifest.Provenance
	before  *deed // what the name was set to before a push that left it as it was; nil for none
	undoes  string
	changed bool
	gone    bool               // nothing bears the name afterwards
	answers                    // what a status compares with
	foreign bool               // it was there before any push that is not taken back
	image   manifest.Done      // when repository is empty
	model   manifest.DoneModel // else
}

// answers is the state that clara-push answers for: what a push placed. After a rollback it is what the push before placed, so
// that what somebody else changed meanwhile, which a rollback leaves or brings back, never passes for placed.
type answers struct {
	placed     manifest.State  // of an image
	placedTree manifest.Digest // of a model; empty when nobody knows
}

// history reads all receipts.
func (h *Host) history() (*history, error) {
	receipts, err := h.Receipts()
	if err != nil {
		return nil, err
	}
	t := &history{receipts: receipts, stories: map[key]*story{}, undone: map[string]int{}, removed: map[string][]string{}}
	for _, r := range slices.Backward(receipts) {
		for _, d := range deedsOf(r) {
			t.tell(d)
		}
	}
	t.credit()
	return t, nil
}

// credit gives what a push left as it was, and that was taken back as a whole, to what had set it before.
func (t *history) credit() {
	void := map[string]bool{}
	for _, r := range t.receipts {
		void[r.ID] = r.Act == manifest.ActPush && t.takenBack(r)
	}
	for _, s := range t.stories {
		for s.now != nil && !s.now.changed && void[s.now.receipt] {
			s.now = s.now.before
		}
	}
}

// deedsOf lists what a receipt says, in its order.
func deedsOf(r manifest.Receipt) []deed {
	var deeds []deed
	base := deed{act: r.Act, receipt: r.ID, at: r.Finished, from: r.Provenance}
	for _, d := range r.Images {
		e := base
		e.key, e.image = key{name: d.Ref}, d
		e.undoes, e.changed, e.gone, e.placed = d.Undoes, d.Changed(), d.After.ID == "", d.After
		deeds = append(deeds, e)
	}
	for _, d := range r.Models {
		e := base
		e.key, e.model = key{r.Repository, d.Name}, d
		e.undoes, e.changed, e.gone, e.placedTree = d.Undoes, d.Changed(), d.Gone && d.Entry == "", d.After
		if d.Place == manifest.PlaceFormer { // receipts of older versions do not say that they are rollbacks
			e.act = manifest.ActRollback
		}
		deeds = append(deeds, e)
	}
	return deeds
}

// tell adds a deed to its story. Deeds come oldest first.
func (t *history) tell(d deed) {
	s := t.stories[d.key]
	if s == nil {
		s = &story{}
		t.stories[d.key] = s
		t.order = append(t.order, d.key)
	}
	switch d.act {
	case manifest.ActRemove:
		for _, p := range s.past {
			t.removed[p.receipt] = append(t.removed[p.receipt], d.name)
		}
		s.past = nil
	case manifest.ActRollback:
		if t.leave(d, s) {
			return
		}
		t.takeBack(s, &d)
	default:
		if d.changed {
			s.past = append(s.past, d)
		} else {
			d.before = s.now
		}
	}
	s.now = &d
	if d.gone {
		s.now = nil
	}
}

// leave reports whether d takes a load back that had left the name as it was: then what it was set to before is credited.
func (t *history) leave(d deed, s *story) bool {
	if d.changed || d.undoes == "" || slices.ContainsFunc(s.past, func(p deed) bool { return p.receipt == d.undoes }) {
		return false
	}
	t.undone[d.undoes]++
	return true
}

// takeBack takes what d undoes out of the story. What is there then came from where the push before it came from.
func (t *history) takeBack(s *story, d *deed) {
	i := len(s.past) - 1
	if d.undoes != "" {
		i = slices.IndexFunc(s.past, func(p deed) bool { return p.receipt == d.undoes })
	}
	var former answers
	if i >= 0 {
		former = answers{s.past[i].image.Before, s.past[i].model.Before}
		t.undone[s.past[i].receipt]++
		s.past = slices.Delete(s.past, i, i+1)
	}
	last := s.last()
	if d.foreign = last == nil; !d.foreign {
		former, d.from, d.model.Kept = last.answers, last.from, last.model.Kept
	}
	if former.placed.ID != "" {
		d.placed = former.placed
	}
	if former.placedTree != "" {
		d.placedTree = former.placedTree
	}
}

// last is the newest push that changed the name and was not taken back; nil when there is none.
func (s *story) last() *deed {
	if s == nil || len(s.past) == 0 {
		return nil
	}
	return &s.past[len(s.past)-1]
}

// lastPush lists what the newest push changed that was not wholly taken back, without what was; nil when there is none. Of a
// load that changed nothing, but counts as the version loaded last, it lists everything that is still there, as unchanged.
func (t *history) lastPush() []deed {
	for _, r := range t.receipts {
		if deeds := t.leftAsItWas(r); len(deeds) > 0 {
			return deeds
		}
		var deeds []deed
		for _, d := range deedsOf(r) {
			if last := t.stories[d.key].last(); d.act == manifest.ActPush && last != nil && last.receipt == r.ID {
				deeds = append(deeds, *last)
			}
		}
		if len(deeds) > 0 {
			return deeds
		}
	}
	return nil
}

// leftAsItWas lists what a load that changed nothing and was not taken back is about; nil for any other receipt.
func (t *history) leftAsItWas(r manifest.Receipt) []deed {
	if !isRelease(r) || t.takenBack(r) {
		return nil
	}
	var deeds []deed
	for _, d := range deedsOf(r) {
		switch {
		case d.changed:
			return nil
		case t.stories[d.key].now != nil:
			deeds = append(deeds, d)
		}
	}
	return deeds
}

// isRelease reports whether r is of a load that says what it is a release of.
func isRelease(r manifest.Receipt) bool {
	return r.Act == manifest.ActPush && r.Provenance != nil && r.Provenance.Application != ""
}

// releases lists the version of each application that was loaded last. A load that was taken back as a whole, or as far as
// it was not removed, does not count; one of which everything was removed does, for a removal is no way back to an older version.
func (t *history) releases() []manifest.Release {
	var releases []manifest.Release
	for _, r := range t.receipts {
		p := r.Provenance
		if !isRelease(r) || t.takenBack(r) {
			continue
		}
		known := slices.ContainsFunc(releases, func(o manifest.Release) bool { return o.Application == p.Application })
		if !known {
			releases = append(releases, manifest.Release{Application: p.Application, Version: p.Version, Receipt: r.ID, Loaded: r.Finished})
		}
	}
	return releases
}

func (t *history) takenBack(r manifest.Receipt) bool {
	changed := 0
	for _, d := range deedsOf(r) {
		if d.changed {
			changed++
		}
	}
	return t.undone[r.ID] > 0 && (changed == 0 || t.undone[r.ID]+len(t.removed[r.ID]) == changed)
}
