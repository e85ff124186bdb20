package manifest

import "slices"

// Only returns those of the images and models that s names; everything when it names nothing. A name without a tag means
// the tag latest too. It fails with KindNotFound when something is not there.
func (a Artifacts) Only(s Selection) (Artifacts, error) {
	if s.Empty() {
		return a, nil
	}
	only := a
	only.Images, only.Models = nil, nil
	for _, ref := range s.Images {
		i := slices.IndexFunc(a.Images, func(i Image) bool { return i.Ref == ref })
		if i < 0 {
			i = slices.IndexFunc(a.Images, func(i Image) bool { return i.Ref == ref+":latest" })
		}
		if i < 0 {
			return Artifacts{}, notAmong("image", ref, namesOf(a.Images, func(i Image) string { return i.Ref }))
		}
		only.Images = append(only.Images, a.Images[i])
	}
	for _, name := range s.Models {
		i := slices.IndexFunc(a.Models, func(m Model) bool { return m.Name == name })
		if i < 0 {
			return Artifacts{}, notAmong("model", name, namesOf(a.Models, func(m Model) string { return m.Name }))
		}
		only.Models = append(only.Models, a.Models[i])
	}
	return only, nil
}

func namesOf[T any](all []T, name func(T) string) []string {
	names := make([]string, len(all))
	for n, x := range all {
		names[n] = Plain(name(x))
	}
	return names
}

func notAmong(what, name string, there []string) error {
	f := Fail(KindNotFound, "select", "there is no %s %s in it", what, Plain(name))
	if len(there) == 0 {
		return f.Advise("there is no %s in it at all", what)
	}
	return f.Advise("there are: %s", listOf(there))
}
