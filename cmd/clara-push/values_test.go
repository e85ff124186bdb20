package main

import (
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func TestRate(t *testing.T) {
	for _, tt := range []struct {
		text string
		want rate // -1: refused
	}{
		{"5MB", 5_000_000},
		{"800k", 800_000},
		{"800K", 800_000},
		{"1.5M", 1_500_000},
		{"2MiB", 2 << 20},
		{"64Ki", 64 << 10},
		{"1GB/s", 1_000_000_000},
		{"20000", 20_000},
		{"0", 0},
		{"9999", -1},
		{"5mb", -1},
		{"5Mb", -1},
		{"5Mbit", -1},
		{"-5M", -1},
		{"5 MB", -1},
		{"", -1},
		{"MB", -1},
		{"99999999999999999999GB", -1},
		{"1e9", -1},
	} {
		got := rate(-7)
		err := got.Set(tt.text)
		switch {
		case tt.want < 0 && err == nil:
			t.Errorf("%q was taken as %d", tt.text, got)
		case tt.want < 0 && got != -7:
			t.Errorf("%q was refused, but set %d", tt.text, got)
		case tt.want >= 0 && (err != nil || got != tt.want):
			t.Errorf("%q = %d, %v; want %d", tt.text, got, err, tt.want)
		}
	}
}

func TestPlatform(t *testing.T) {
	for _, tt := range []struct {
		text string
		want manifest.Platform
	}{
		{"linux/amd64", manifest.Platform{OS: "linux", Architecture: "amd64"}},
		{"linux/x86_64", manifest.Platform{OS: "linux", Architecture: "amd64"}},
		{"linux/aarch64", manifest.Platform{OS: "linux", Architecture: "arm64"}},
		{"linux/arm/v7", manifest.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}},
	} {
		var p platform
		if err := p.Set(tt.text); err != nil || manifest.FormatPlatform(manifest.Platform(p)) != manifest.FormatPlatform(tt.want) {
			t.Errorf("%q = %s, %v; want %s", tt.text, &p, err, manifest.FormatPlatform(tt.want))
		}
	}
	for _, bad := range []string{"", "linux", "amd64", "linux/", "/amd64", "linux/amd64/v8/x", "Linux/AMD64", "linux/../etc", "linux amd64"} {
		var p platform
		if err := p.Set(bad); err == nil {
			t.Errorf("%q was taken as %s", bad, &p)
		}
	}
}
