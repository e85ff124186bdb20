package triton

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// ServerVersion is a release of Triton, or of the TensorRT Inference Server as it was called. It is named by its container,
// as in 22.12; the zero value is the current one, whichever that is.
//
// From 20.06 to 20.07 two lines were released at once: 20.07-v1 is the last server that speaks the V1 protocol.
type ServerVersion struct {
	year, month, point int
	v1                 bool
}

// Releases that change a rule.
var (
	v2010 = ServerVersion{year: 20, month: 10}
	v2207 = ServerVersion{year: 22, month: 7}
	v2409 = ServerVersion{year: 24, month: 9}
	v2502 = ServerVersion{year: 25, month: 2}
	// newest is the last release that fields.txt is known to be complete for.
	newest = ServerVersion{year: 26, month: 11}
)

var (
	containerForm = regexp.MustCompile(`^(\d\d)\.(\d\d)(?:\.(\d))?(-v1)?(?:-py3.*)?$`)
	serverForm    = regexp.MustCompile(`^v?(\d)\.(\d{1,3})(?:\.\d+)?$`)
)

// ParseServerVersion reads the number of a container (22.12, 20.07-v1, 19.08-py3) or of a server (2.29.0, 1.5.0). The error
// is a manifest.KindUsage failure.
func ParseServerVersion(s string) (ServerVersion, error) {
	if m := containerForm.FindStringSubmatch(s); m != nil {
		v := ServerVersion{year: number(m[1]), month: number(m[2]), point: number(m[3])}
		v.v1 = m[4] != "" || v.order() < (ServerVersion{year: 20, month: 6}).order()
		if v.month >= 1 && v.month <= 12 && v.order() >= (ServerVersion{year: 19, month: 3}).order() && v.v1 == v.oldLine() {
			return v, nil
		}
	}
	if m := serverForm.FindStringSubmatch(s); m != nil {
		if v, ok := containerOf(number(m[1]), number(m[2])); ok {
			return v, nil
		}
	}
	return ServerVersion{}, manifest.Fail(manifest.KindUsage, "", "%q is no release of Triton", manifest.Plain(s)).
		Advise("give the container, as in 22.12 or 20.07-v1, or the server, as in 2.29.0; 19.03 is the oldest")
}

// oldLine reports whether v can be of the 1.x line: up to 20.07, where it must say so from 20.06 on.
func (v ServerVersion) oldLine() bool { return v.v1 && v.year*100+v.month <= 2007 }

// containerOf finds the container of a server: 1.0 came with 19.03 and 2.0 with 20.06, and then one a month, but for gaps.
func containerOf(major, minor int) (ServerVersion, bool) {
	switch {
	case major == 1 && minor <= 12:
		return month(19*12+2+minor, true), true
	case major == 1 && minor == 13:
		return ServerVersion{year: 20, month: 3, point: 1, v1: true}, true
	case major == 1 && minor <= 15:
		return ServerVersion{year: 20, month: minor - 8, v1: true}, true
	case major == 2 && minor <= 6:
		return month(20*12+5+minor, false), true
	case major == 2 && minor <= 59: // there was no 21.01
		return month(21*12+1+minor-7, false), true
	case major == 2: // 25.07 was 2.59.1
		return month(25*12+7+minor-60, false), true
	}
	return ServerVersion{}, false
}

// month makes the release of the nth month, January of year 0 being 0.
func month(n int, v1 bool) ServerVersion {
	return ServerVersion{year: n / 12, month: n%12 + 1, v1: v1}
}

// String is the name of the container, "20.07-v1"; "current" for the zero value.
func (v ServerVersion) String() string {
	if v.IsZero() {
		return "current"
	}
	s := fmt.Sprintf("%02d.%02d", v.year, v.month)
	if v.point > 0 {
		s += fmt.Sprintf(".%d", v.point)
	}
	if v.v1 && v.year*100+v.month >= 2006 {
		s += "-v1"
	}
	return s
}

// IsZero reports whether v is the zero value, which is the current release.
func (v ServerVersion) IsZero() bool { return v == ServerVersion{} }

// V1 reports whether v speaks the V1 protocol.
func (v ServerVersion) V1() bool { return v.v1 }

// Before reports whether v came before w. The current release came before none.
func (v ServerVersion) Before(w ServerVersion) bool {
	return !v.IsZero() && cmp.Compare(v.order(), w.order()) < 0
}

// order makes releases comparable; the older line of a month comes first.
func (v ServerVersion) order() int {
	n := (v.year*100+v.month)*100 + v.point*10
	if !v.v1 {
		n++
	}
	return n
}

// strict reports whether v, started as it comes, derives nothing that a configuration leaves out.
func (v ServerVersion) strict() bool { return v.Before(v2207) }

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
