package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// rate is a flag's value in bytes a second; 0 is no limit.
type rate int64

var amountForm = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)([kKMG]i?)?B?$`)

// parseAmount reads "5MB", "800k", "1.5MiB" in bytes.
func parseAmount(s string) (float64, bool) {
	m := amountForm.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseFloat(m[1], 64)
	n *= map[string]float64{"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "ki": 1 << 10, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}[m[2]]
	return n, err == nil
}

// least is the smallest limit that can be set: below it, the connection would look dead.
const least rate = 10_000

// Set reads "5MB", "800k", "1.5MiB/s".
func (r *rate) Set(s string) error {
	n, ok := parseAmount(strings.TrimSuffix(s, "/s"))
	if !ok {
		return fmt.Errorf("not a rate: write bytes a second, such as 800k, 5MB or 2MiB")
	}
	switch {
	case n == 0:
		*r = 0
	case n < float64(least):
		return fmt.Errorf("too slow: %s a second is the least", manifest.FormatBytes(int64(least)))
	case n > 1<<50:
		return fmt.Errorf("no link is that fast")
	default:
		*r = rate(n)
	}
	return nil
}

func (r *rate) String() string {
	if *r == 0 {
		return ""
	}
	return manifest.FormatBytes(int64(*r)) + "/s"
}

// Type is the word for the value in the help.
func (r *rate) Type() string { return "rate" }
