package triton_test

import (
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/triton"
)

func TestParseServerVersion(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"19.08", "19.08"},
		{"1.5.0", "19.08"},
		{"1.5", "19.08"},
		{"v1.9.0", "19.12"},
		{"1.10.0", "20.01"},
		{"1.12.0", "20.03"},
		{"1.13.0", "20.03.1"},
		{"20.03.1", "20.03.1"},
		{"1.14.0", "20.06-v1"},
		{"20.07-v1", "20.07-v1"},
		{"20.07-v1-py3", "20.07-v1"},
		{"1.15.0", "20.07-v1"},
		{"2.0.0", "20.06"},
		{"2.1.0", "20.07"},
		{"20.07-py3", "20.07"},
		{"2.5.0", "20.11"},
		{"2.6.0", "20.12"},
		{"2.7.0", "21.02"},
		{"2.13.0", "21.08"},
		{"2.25.0", "22.08"},
		{"22.12", "22.12"},
		{"2.29.0", "22.12"},
		{"2.35.0", "23.06"},
		{"2.40.0", "23.11"},
		{"2.41.0", "23.12"},
		{"2.47.0", "24.06"},
		{"2.59.0", "25.06"},
		{"2.73.0", "26.09"},
		{"2.75.0", "26.11"},
		{"26.11-py3-sdk", "26.11"},
		{"", ""},
		{"latest", ""},
		{"19.02", ""},
		{"0.11.0", ""},
		{"1.16.0", ""},
		{"20.13", ""},
		{"20.00", ""},
		{"20.08-v1", ""},
		{"22.12.1.1", ""},
		{"3.0.0", ""},
		{"22.12 ", ""},
		{"2.9999.0", ""},
	} {
		v, err := triton.ParseServerVersion(tt.text)
		switch {
		case tt.want == "" && manifest.KindOf(err) != manifest.KindUsage:
			t.Errorf("%q was taken as %s, %v", tt.text, v, err)
		case tt.want != "" && (err != nil || v.String() != tt.want):
			t.Errorf("%q is %s, %v; want %s", tt.text, v, err, tt.want)
		}
	}
}

func TestServerVersionOrder(t *testing.T) {
	order := []string{"19.08", "19.12", "20.01", "20.03", "20.03.1", "20.06-v1", "20.06", "20.07-v1", "20.07", "20.08", "21.02", "22.12", "26.11"}
	for i, a := range order {
		for j, b := range order {
			v, _ := triton.ParseServerVersion(a)
			w, _ := triton.ParseServerVersion(b)
			if v.Before(w) != (i < j) {
				t.Errorf("%s before %s: %v", a, b, v.Before(w))
			}
		}
	}
	var current triton.ServerVersion
	old, _ := triton.ParseServerVersion("19.08")
	if current.Before(old) || old.Before(current) || current.V1() || !old.V1() || current.String() != "current" {
		t.Error("the current release must come before none")
	}
}
