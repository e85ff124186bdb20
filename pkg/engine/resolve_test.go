package engine

import (
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

func TestPick(t *testing.T) {
	entry := func(arch, variant string, attests bool) manifest.Descriptor {
		d := manifest.Descriptor{Digest: manifest.Digest(arch + variant), Platform: &manifest.Platform{OS: "linux", Architecture: arch, Variant: variant}}
		if attests {
			d.Annotations = map[string]string{attestation: "attestation-manifest"}
		}
		return d
	}
	list := []manifest.Descriptor{
		{Digest: "noplatform"}, entry("amd64", "", true), entry("amd64", "", false), entry("arm", "v6", false), entry("arm", "v7", false),
		entry("arm64", "v8", false),
	}
	for _, tt := range []struct {
		arch, variant, want string
	}{
		{"amd64", "", "amd64"},
		{"arm64", "", "arm64v8"},
		{"arm64", "v8", "arm64v8"},
		{"arm", "v7", "armv7"},
		{"arm", "v6", "armv6"},
		{"arm", "v5", ""},
		{"s390x", "", ""},
	} {
		d, others, ok := pick(list, manifest.Platform{OS: "linux", Architecture: tt.arch, Variant: tt.variant})
		if ok != (tt.want != "") || string(d.Digest) != tt.want {
			t.Errorf("%s/%s: got %s, %v", tt.arch, tt.variant, d.Digest, ok)
		}
		if ok && len(others) != len(list)-1 {
			t.Errorf("%s/%s: %d others", tt.arch, tt.variant, len(others))
		}
	}
}

func TestExact(t *testing.T) {
	for _, tt := range []struct {
		store     manifest.Store
		ref, want string
	}{
		{manifest.StorePodman, "app:1", "docker.io/library/app:1"},
		{manifest.StorePodman, "localhost/app:1", "localhost/app:1"},
		{manifest.StorePodman, "sha256:" + hexA, "sha256:" + hexA},
		{manifest.StoreGraphdriver, "app:1", "app:1"},
	} {
		e := &Engine{about: manifest.Engine{Store: tt.store}}
		if got := e.exact(tt.ref); got != tt.want {
			t.Errorf("%s on %s: %s", tt.ref, tt.store, got)
		}
	}
}
