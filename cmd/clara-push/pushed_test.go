package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// anImage is an image of three layers, of which the first `there` are on the host.
func anImage(ref string, a manifest.Action, there int) manifest.ImagePlan {
	p := manifest.ImagePlan{Action: a, Image: manifest.Image{Ref: ref, Origin: "Docker Engine 28.5.2"}}
	for n, size := range []int64{1_000_000_000, 254_000_000, 52_100} {
		l := manifest.Layer{Descriptor: manifest.Descriptor{Digest: digestOf(n), Size: size}, DiffID: digestOf(n)}
		p.Image.Layers = append(p.Image.Layers, l)
		if a == manifest.ActionLoad {
			p.Layers = append(p.Layers, manifest.LayerPlan{Layer: l, Present: n < there})
		}
	}
	return p
}

func digestOf(n int) manifest.Digest {
	return manifest.Digest("sha256:" + strings.Repeat(string(rune('a'+n)), 64))
}

func aPush(images ...manifest.ImagePlan) pushed {
	p := pushed{wire: 20_411, took: 1840 * time.Millisecond}
	p.Plan.Images = images
	p.Plan.Sizes = manifest.Sizes{Send: 52_100, Present: 1_254_000_000, Stage: 52_100, Engine: 104_200}
	p.Inventory.Stage = manifest.Space{Path: "/var/lib/clara-push", Free: 12e9}
	p.Inventory.Data = manifest.Space{Path: "/var/lib/docker", Free: manifest.UnknownSize}
	for _, i := range images {
		if i.Action != manifest.ActionNothing {
			p.Receipt.Images = append(p.Receipt.Images, manifest.Done{Ref: i.Image.Ref, Action: i.Action})
		}
	}
	return p
}

func TestDoneLines(t *testing.T) {
	resumed := aPush(anImage("app:1", manifest.ActionLoad, 0))
	resumed.Plan.Sizes.Present, resumed.Plan.Sizes.Staged = 0, 600_000_000
	for _, tt := range []struct {
		name string
		p    pushed
		want []string
	}{
		{"one changed layer", aPush(anImage("app:1", manifest.ActionLoad, 2)),
			[]string{"app:1 → gpu01: done in 1.8 s, 20.4 kB sent, 1.25 GB spared (2 of 3 layers were there)"}},
		{"nothing", aPush(anImage("app:1", manifest.ActionNothing, 3)),
			[]string{"app:1 → gpu01: nothing to do, the host has this image already"}},
		{"name only", aPush(anImage("app:1", manifest.ActionTag, 3)),
			[]string{"app:1 → gpu01: named, the host had this image already"}},
		{"resumed", resumed,
			[]string{"app:1 → gpu01: done in 1.8 s, 20.4 kB sent, 600 MB had been sent before"}},
		{"two", aPush(anImage("app:1", manifest.ActionLoad, 2), anImage("other:2", manifest.ActionNothing, 3)), []string{
			"app:1 → gpu01: loaded (2 of 3 layers were there)",
			"other:2 → gpu01: nothing to do, the host has this image already",
			"gpu01: done in 1.8 s, 20.4 kB sent, 1.25 GB spared",
		}},
		{"two, nothing", aPush(anImage("app:1", manifest.ActionNothing, 3), anImage("other:2", manifest.ActionNothing, 3)), []string{
			"app:1 → gpu01: nothing to do, the host has this image already",
			"other:2 → gpu01: nothing to do, the host has this image already",
		}},
	} {
		if got := doneLines("gpu01", tt.p); !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n%s\nwant:\n%s", tt.name, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
		}
	}
}

// Nothing is called done that the host did not say it did.
func TestUnreceipted(t *testing.T) {
	p := aPush(anImage("app:1", manifest.ActionLoad, 2), anImage("other:2", manifest.ActionNothing, 3))
	if err := unreceipted(p); err != nil {
		t.Errorf("a whole receipt: %v", err)
	}
	p.Receipt.Images[0].Ref = "something:else"
	if err := unreceipted(p); manifest.KindOf(err) != manifest.KindUnknown || exitCode(err) != 20 {
		t.Errorf("a receipt without the image: %v", err)
	}
	if err := unreceipted(pushed{}); err == nil {
		t.Error("no image at all passes for done")
	}
	var s summary
	s.addPush(p)
	if s.Images[0].Done || !s.Images[1].Done {
		t.Errorf("done: %v, %v; want false, true", s.Images[0].Done, s.Images[1].Done)
	}
}

func TestPlanLines(t *testing.T) {
	p := aPush(anImage("app:1", manifest.ActionLoad, 2))
	p.Plan.Sizes.Unknown, p.Plan.Sizes.Staged = 1, 8<<20
	want := []string{
		"app:1 → gpu01",
		"  from         Docker Engine 28.5.2",
		"  action       load, 1 of 3 layers to send, 2 there already",
		"  to send      52.1 kB, less by what compression saves on the way",
		"  spared       1.25 GB",
		"  sent before  8.39 MB",
		"  not known    1 size: the local engine tells them only while it saves the image; estimated above",
		"  stage        needs 52.1 kB, 12.0 GB free in /var/lib/clara-push",
		"  engine       needs 104 kB, free space not known in /var/lib/docker",
		"dry run: nothing of this was sent or changed",
	}
	if got := planLines("gpu01", p); !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := planLines("gpu01", aPush(anImage("app:1", manifest.ActionNothing, 3))); len(got) != 4 || !strings.Contains(got[2], "nothing") {
		t.Errorf("nothing to do:\n%s", strings.Join(got, "\n"))
	}
}

func TestPushWarnings(t *testing.T) {
	p := aPush(anImage("app:1", manifest.ActionLoad, 2))
	p.Inventory.Warnings = []string{"the kubelet uses containerd"}
	p.Plan.Images[0].Image.LeftBehind = []string{"1 attestation"}
	p.Receipt.Images[0].Stale = []manifest.Container{{Name: "web"}, {ID: "0123", Name: ""}, {Name: "evil\x1b[2J"}}
	got := pushWarnings("gpu01", p)
	want := []string{
		"the kubelet uses containerd",
		"app:1: stays behind: 1 attestation",
		"3 containers on gpu01 still run the former image of app:1: web, 0123, evil [2J; start them anew to use the pushed one",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSweptLine(t *testing.T) {
	for _, tt := range []struct {
		s    manifest.Swept
		want string
	}{
		{manifest.Swept{}, "gpu01: nothing to remove"},
		{manifest.Swept{Blobs: 1, Bytes: 4 << 20}, "gpu01: 4.19 MB freed (1 staged blob removed)"},
		{manifest.Swept{Blobs: 3, Bytes: 1e9, Held: 2}, "gpu01: 1.00 GB freed (3 staged blobs removed); 2 staged blobs kept, held by a push or too young"},
	} {
		if got := sweptLine("gpu01", tt.s); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestTargetLines(t *testing.T) {
	now := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	inv := manifest.Inventory{
		Agent: "1.2.0", Name: "gpu01", User: "deploy", Clock: now.Add(-90 * time.Second),
		Engine: manifest.Engine{Name: "Docker Engine", Version: "20.10.24", API: "1.41", Store: manifest.StoreGraphdriver, Driver: "overlay2",
			Platform: manifest.Platform{OS: "linux", Architecture: "amd64"}},
		Stage: manifest.Space{Path: "/home/deploy", Free: 5e9, Inodes: 1000},
		Data:  manifest.Space{Path: "/var/lib/docker", Free: 0, Inodes: 1000},
	}
	text := strings.Join(targetLines("gpu01", inv, false, now), "\n")
	for _, want := range []string{"gpu01: a push would fail", "clara-push 1.2.0", "Docker Engine 20.10.24 (API 1.41)", "graphdriver overlay2",
		"linux/amd64", "5.00 GB free in /home/deploy", "0 B free in /var/lib/docker", "1 min 30 s behind this machine"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if err := roomLeft(inv); exitCode(err) != 14 {
		t.Errorf("a full engine folder: %v", err)
	}
	inv.Data.Free = manifest.UnknownSize
	if err := roomLeft(inv); err != nil {
		t.Errorf("an unknown engine folder: %v", err)
	}
}
