package manifest

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// planModels adds the models to p, components before the ensembles that use them.
func planModels(p *Plan, models []Model, repo *Repository, o Options) error {
	if len(models) == 0 {
		return nil
	}
	if err := Placeable(repo); err != nil {
		return err
	}
	for _, m := range sortModels(models) {
		i := slices.IndexFunc(repo.Models, func(h HostModel) bool { return h.Name == m.Name })
		if i < 0 {
			return Fail(KindInternal, "plan model "+m.Name, "the host said nothing of it")
		}
		mp, err := PlanModel(m, repo.Models[i], o.Exact, repo.Exchange)
		if err != nil {
			return err
		}
		p.Models = append(p.Models, mp)
	}
	p.Files = filesOf(p.Models, repo)
	p.Sizes.Models = addModelSizes(&p.Sizes, p)
	return nil
}

// Placeable fails with KindPermission when no models can be placed in repo.
func Placeable(repo *Repository) error {
	switch {
	case repo == nil:
		return Fail(KindPermission, "check repository", "the host has none")
	case repo.Refusal != "":
		f := Fail(KindPermission, "check repository", "%s", repo.Refusal)
		f.Hint = repo.Advice
		return f
	}
	return nil
}

// filesOf lists the files that must be staged, once each.
func filesOf(models []ModelPlan, repo *Repository) []BlobPlan {
	staged := map[Digest][]int{}
	for _, s := range repo.Staged {
		staged[s.Digest] = s.Chunks
	}
	seen := map[Digest]bool{}
	var files []BlobPlan
	for _, m := range models {
		if m.Place == PlaceNothing {
			continue
		}
		for _, f := range m.Sent() {
			if !seen[f.Digest] {
				seen[f.Digest] = true
				files = append(files, BlobPlan{Descriptor: f.Descriptor, Staged: staged[f.Digest]})
			}
		}
	}
	return files
}

// addModelSizes adds what the models need to s and returns the room that building them takes: what arrives, small files
// twice, as they came and as they will be placed, copies of what is placed at more than one path, and copies of what the host
// has already where a whole directory is built anew (none where the file system can share blocks, which is not known here).
func addModelSizes(s *Sizes, p *Plan) int64 {
	var need int64
	used := map[Digest]bool{}
	for _, f := range p.Files {
		staged := stagedBytes(f.Size, f.Staged)
		s.Staged += staged
		s.Send += f.Size - staged
		need += f.Size - staged
		if f.Size <= SmallFile {
			need += f.Size
		}
	}
	for _, m := range p.Models {
		if m.Place != PlaceNothing {
			var placed int64
			for _, f := range m.Sent() {
				placed += f.Size
				if used[f.Digest] { // sent once, and copied there
					need += f.Size
				}
				used[f.Digest] = true
			}
			s.Present += m.Model.Size() - placed
		} else {
			s.Present += m.Model.Size()
		}
		if m.Place == PlaceModel || m.Place == PlaceVersion {
			for _, f := range m.Copied() {
				need += f.Size
			}
		}
	}
	return need
}

// PlanModel decides what m needs on a host whose repository has live under that name. Where two entries cannot be exchanged
// in one step, a version directory that is there is replaced with the whole model: the model may be absent for a moment, but
// is never seen without its version.
func PlanModel(m Model, live HostModel, exact, exchange bool) (ModelPlan, error) {
	p := ModelPlan{Model: m, Place: PlaceCreate}
	switch live.Found {
	case FoundNothing:
		return p, nil
	case FoundSymlink, FoundOther:
		return p, Fail(KindPermission, "plan model "+m.Name, "the host has a %s of that name", live.Found).
			Advise("move it away on the host; clara-push replaces directories only")
	}
	p.Model, p.Kept = withKept(m, live, exact)
	p.Live = sameFiles(p.Model, live)
	p.Place, p.Entry, p.Gone = smallest(p.Model, live)
	if p.Place == PlaceVersion && !p.Gone && !exchange && slices.Contains(live.Dirs, p.Entry) {
		p.Place, p.Entry = PlaceModel, ""
	}
	p.Warnings = append(servedOn(m, p.Kept), p.unreadable(live)...)
	if p.Place != PlaceNothing && live.Refusal != "" {
		f := Fail(KindPermission, "plan model "+m.Name, "%s", live.Refusal)
		f.Hint = live.Advice
		return p, f
	}
	return p, takeable(p)
}

// unreadable warns of what stays on the host as it is and that a server which runs as another user could not read.
func (p ModelPlan) unreadable(live HostModel) []string {
	for _, c := range live.Closed {
		if p.Place == PlaceModel || p.Place != PlaceNothing && p.Below(c) {
			continue // it is placed afresh
		}
		return []string{fmt.Sprintf("model %s: other users may not read %s on the host, and Triton may run as another one: "+
			"chmod -R a+rX on the model directory lets them", p.Model.Name, Plain(c))}
	}
	return nil
}

// takeable makes sure that what stays of the live tree can be copied.
func takeable(p ModelPlan) error {
	for _, f := range p.Copied() {
		if f.Digest == "" {
			return Fail(KindPermission, "plan model "+p.Model.Name, "%s, which only the host has, is a link or no regular file", Plain(f.Path)).
				Advise("put a file in its place on the host, or push with --exact to remove version %s there", topOf(f.Path))
		}
	}
	return nil
}

// withKept adds to m the version directories that only the host has, unless it shall be exactly m.
func withKept(m Model, live HostModel, exact bool) (Model, []string) {
	if exact {
		return m, nil
	}
	var kept []string
	for _, d := range live.Dirs {
		if IsVersion(d) && !slices.Contains(m.Dirs, d) {
			kept = append(kept, d)
		}
	}
	if len(kept) == 0 {
		return m, nil
	}
	m.Files, m.Dirs = slices.Clone(m.Files), slices.Clone(m.Dirs)
	for _, f := range live.Files {
		if slices.Contains(kept, topOf(f.Path)) {
			m.Files = append(m.Files, f)
		}
	}
	for _, d := range live.Dirs {
		if slices.Contains(kept, topOf(d)) {
			m.Dirs = append(m.Dirs, d)
		}
	}
	slices.SortFunc(m.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	slices.Sort(m.Dirs)
	return m, kept
}

// servedOn warns when Triton, which by default serves the highest version, will go on serving one that was not pushed.
func servedOn(m Model, kept []string) []string {
	var pushed int64 = -1
	for _, d := range m.Dirs {
		if IsVersion(d) {
			pushed = max(pushed, versionNumber(d))
		}
	}
	var warnings []string
	for _, k := range kept {
		if versionNumber(k) > pushed {
			warnings = append(warnings, fmt.Sprintf("model %s: the host also has version %s, which is higher than what was pushed; "+
				"unless the version policy says otherwise, Triton serves that one (--exact removes it)", m.Name, k))
		}
	}
	return warnings
}

func versionNumber(name string) int64 {
	n, _ := strconv.ParseInt(name, 10, 64) // IsVersion has passed it
	return n
}

// sameFiles lists the paths at which the host has the very file already.
func sameFiles(m Model, live HostModel) []string {
	have := map[string]Digest{}
	for _, f := range live.Files {
		have[f.Path] = f.Digest
	}
	var same []string
	for _, f := range m.Files {
		if have[f.Path] == f.Digest {
			same = append(same, f.Path)
		}
	}
	return same
}

// change is one path at which the wanted tree and the live one differ.
type change struct {
	path string
	file bool // a regular file, where it is, on both sides
	gone bool // the live tree alone has it
	born bool // the wanted tree alone has it
}

func changes(m Model, live HostModel) []change {
	const file, dir = "f", "d"
	state := func(files []File, dirs []string) map[string]string {
		s := map[string]string{}
		for _, f := range files {
			s[f.Path] = file + string(f.Digest)
		}
		for _, d := range dirs {
			s[d] = dir
		}
		return s
	}
	want, have := state(m.Files, m.Dirs), state(live.Files, live.Dirs)
	var all []change
	for p, w := range want {
		if h := have[p]; h != w {
			all = append(all, change{path: p, file: w != dir && h != dir, born: h == ""})
		}
	}
	for p, h := range have {
		if want[p] == "" {
			all = append(all, change{path: p, file: h != dir, gone: true})
		}
	}
	slices.SortFunc(all, func(a, b change) int { return strings.Compare(a.path, b.path) })
	return all
}

// smallest finds the smallest step that turns the live tree into m: nothing, one file, one version directory, or all.
func smallest(m Model, live HostModel) (p Placement, entry string, gone bool) {
	all := changes(m, live)
	if len(all) == 0 {
		return PlaceNothing, "", false
	}
	if c := all[0]; len(all) == 1 && c.file && (path.Dir(c.path) == "." || slices.Contains(live.Dirs, path.Dir(c.path))) {
		return PlaceFile, c.path, c.gone
	}
	top := topOf(all[0].path)
	for _, c := range all {
		if topOf(c.path) != top || (c.path == top && c.file) {
			return PlaceModel, "", false
		}
	}
	wanted, had := slices.Contains(m.Dirs, top), slices.Contains(live.Dirs, top)
	if !IsVersion(top) || (!wanted && !had) || isFile(m.Files, top) || isFile(live.Files, top) {
		return PlaceModel, "", false
	}
	return PlaceVersion, top, !wanted
}

func isFile(files []File, p string) bool {
	return slices.ContainsFunc(files, func(f File) bool { return f.Path == p })
}
