package dial

import (
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func TestParseHost(t *testing.T) {
	for in, want := range map[string]Host{
		"box":                   {Name: "box"},
		"me@box":                {User: "me", Name: "box"},
		"me@box:2222":           {User: "me", Name: "box", Port: 2222},
		"me@corp.example@box":   {User: "me@corp.example", Name: "box"},
		`CORP\me@box`:           {User: `CORP\me`, Name: "box"},
		"[::1]:22":              {Name: "::1", Port: 22},
		"[::1]":                 {Name: "::1"},
		"::1":                   {Name: "::1"},
		"me@[fe80::1%eth0]:22":  {User: "me", Name: "fe80::1%eth0", Port: 22},
		"[box]:2222":            {Name: "box", Port: 2222},
		"ssh://box":             {Name: "box"},
		"ssh://me@box:2222/":    {User: "me", Name: "box", Port: 2222},
		"ssh://a%40b@[::1]:77":  {User: "a@b", Name: "::1", Port: 77},
		"ssh://me;x=y@box:2222": {User: "me", Name: "box", Port: 2222},
		"10.0.0.7":              {Name: "10.0.0.7"},
	} {
		got, err := ParseHost(in)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
		if again, err := ParseHost(got.String()); err != nil || again != got {
			t.Errorf("%q is written %q, which reads as %+v, %v", in, got.String(), again, err)
		}
	}
}

func TestParseHostRefuses(t *testing.T) {
	for _, in := range []string{
		"", "@box", "me@", "-oProxyCommand=x", "me@-x", "-x@box", "box:", "box:0", "box:65536", "box:+22", "box:22x", "a b", "a\tb", "a\nb", "a\x00b", "a\x1b[2J",
		"a;b", "a|b", "a&b", "a$b", "a`b", "a'b", `a"b`, "a>b", "a(b", "a*b", "a?b", "a!b", "~a", "a/b", `a\b`, "me;x@box", "$x@box", "g::h", "[::1", "[::1]x", "[::1]:", "fe80::1%$(x)",
		"ssh://", "ssh://@box", "ssh://me@box/path", "ssh://%zz@box", "ssh://%2dx@box", "ssh://a%0ab@box", "größe", "a\u202eb",
	} {
		if h, err := ParseHost(in); manifest.KindOf(err) != manifest.KindUsage {
			t.Errorf("%q reads as %+v, %v", in, h, err)
		}
	}
}
