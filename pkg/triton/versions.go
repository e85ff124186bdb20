package triton

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// version is a version directory of a model.
type version struct {
	number int64
	dir    *entry
}

// versionKind says what a server makes of a directory's name.
type versionKind int

const (
	versionNone  versionKind = iota // no number: ignored
	versionGood                     // a number and nothing else
	versionZero                     // a number with a leading zero: ignored
	versionJunk                     // begins like a number, and is read as that number
	versionRange                    // a number that no server can hold
)

// readVersion reads a directory's name as servers do, which is by std::stoll: white space, a sign, digits, and then
// whatever follows is not looked at.
func readVersion(name string) (int64, versionKind) {
	if len(name) > 1 && name[0] == '0' {
		return 0, versionZero
	}
	rest := strings.TrimLeft(name, " \t\n\v\f\r")
	sign := 0
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		sign = 1
	}
	digits := sign
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	if digits == sign {
		return 0, versionNone
	}
	n, err := strconv.ParseInt(rest[:digits], 10, 64)
	switch {
	case err != nil:
		return 0, versionRange
	case sign == 0 && digits == len(name):
		return n, versionGood
	}
	return n, versionJunk
}

// specialDirs are directories of a model that are no versions.
var specialDirs = []string{"warmup", "initial_state", "configs"}

// findVersions notes the version directories, and what stands among them.
func (c *checker) findVersions() {
	for _, d := range c.tree.dirs("") {
		n, kind := readVersion(d.name())
		switch kind {
		case versionGood:
			c.versions = append(c.versions, version{n, d})
		case versionZero:
			c.warn(RuleVersionZero, c.at(d.path), "Triton ignores version directories with a leading zero").
				advise("rename it to %s", cmp.Or(strings.TrimLeft(d.name(), "0"), "0"))
		case versionJunk:
			c.refuse(RuleVersionJunk, c.at(d.path), "Triton reads the name %q as version %d and tries to serve what is in it", d.name(), n).
				advise("remove it, or rename it so that it does not begin with a digit")
		case versionRange:
			c.refuse(RuleVersionRange, c.at(d.path), "the version is too large: servers hold numbers up to 9223372036854775807").
				advise("rename it to a smaller number")
		case versionNone:
			c.checkStray(d)
		}
	}
	slices.SortFunc(c.versions, func(a, b version) int { return cmp.Compare(b.number, a.number) })
	if len(c.versions) == 0 {
		c.noVersion()
		return
	}
	c.applyPolicy()
}

// checkStray looks at a directory that is no version.
func (c *checker) checkStray(d *entry) {
	if slices.Contains(specialDirs, d.name()) || d.name() == configName || isJunk(d) || c.named(d.path) {
		return
	}
	f := c.warn(RuleStray, c.at(d.path), "Triton ignores this directory, because its name is no number, and says so in its log each time it loads the model")
	f.advise("remove it if the model does not need it; a version directory has a number as its name, as in 1")
	if c.tree.get(d.path+"/"+configName) != nil {
		f.Text = "this is a model within a model: Triton ignores it"
		f.advise("move it out, and name both models")
	}
}

// named reports whether the configuration names something below path.
func (c *checker) named(path string) bool {
	for _, name := range c.namedPaths() {
		if name == path || strings.HasPrefix(name, path+"/") {
			return true
		}
	}
	return false
}

// noVersion says what to do where there is no version directory at all.
func (c *checker) noVersion() {
	if slices.ContainsFunc(c.found, func(f *Finding) bool { return f.Rule == RuleVersionJunk || f.Rule == RuleVersionRange }) {
		return
	}
	for path := range c.tree.refused {
		if _, kind := readVersion(path); kind == versionGood {
			return // it is there, and why it cannot be used is said already
		}
	}
	f := c.refuse(RuleNoVersion, c.at(""), "there is no version directory: Triton serves nothing from it")
	f.advise("make a directory called 1 and put the model file into it")
	if c.config.str("platform") == platformEnsemble {
		f.Text = "there is no version directory: Triton does not recognise the ensemble"
		f.advise("make an empty directory called 1")
	}
	for _, d := range c.tree.dirs("") {
		number := strings.TrimLeftFunc(d.name(), func(r rune) bool { return r <= '0' || r > '9' })
		if _, kind := readVersion(number); kind == versionGood {
			f.advise("rename %s to %s: the name of a version directory is a number", d.name(), number)
		}
	}
}

// applyPolicy finds out which versions would be served.
func (c *checker) applyPolicy() {
	policy := c.config.get("version_policy")
	switch {
	case policy.has("specific"):
		c.served = c.specific(policy.get("specific"))
	case policy.has("all"):
		c.served = c.versions
	default:
		n := int64(1)
		if policy.has("latest") {
			n = policy.num("latest.num_versions")
		}
		c.served = c.versions[:min(n, int64(len(c.versions)))]
	}
	if len(c.served) == 0 {
		c.refuse(RulePolicyEmpty, c.in(policy), "the version policy leaves no version to serve").
			advise("change version_policy; without one Triton serves the highest version")
	}
}

// specific finds the versions that the policy names, and notes those that are not there.
func (c *checker) specific(policy *field) []version {
	var served []version
	for _, f := range policy.all("versions") {
		i := slices.IndexFunc(c.versions, func(v version) bool { return v.number == f.int() })
		if i >= 0 {
			served = append(served, c.versions[i])
			continue
		}
		c.warn(RuleVersionMissing, c.in(f), "version %d is to be served, but there is no directory %d", f.int(), f.int()).
			advise("add the directory, or take the number out of version_policy")
	}
	slices.SortFunc(served, func(a, b version) int { return cmp.Compare(b.number, a.number) })
	return served
}
