package signature

import (
	"fmt"
	"strings"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// The forms of a time in allowed_signers, by their length.
var momentForms = map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}

// ParseTime reads a time as allowed_signers and ssh-keygen -O verify-time have it: YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS,
// in this machine's time zone unless Z or UTC follows, which makes it UTC. Days that no month has are an error.
func ParseTime(s string) (time.Time, error) {
	zone, digits := time.Local, s
	for _, suffix := range []string{"Z", "UTC"} {
		if rest, ok := strings.CutSuffix(strings.ToUpper(s), suffix); ok {
			zone, digits = time.UTC, rest
		}
	}
	t, err := time.ParseInLocation(momentForms[len(digits)], digits, zone)
	if err != nil || t.Unix() <= 0 || digits == "" {
		return time.Time{}, fmt.Errorf("%q is not a time: it is written YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with a Z after it for UTC", manifest.Plain(s))
	}
	return t, nil
}

// written is a time for people: in UTC, because files and hosts may be of different zones.
func written(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
