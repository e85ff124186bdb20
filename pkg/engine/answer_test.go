package engine

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

const (
	hexA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hexB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// TestScan reads answers as engines gave them.
func TestScan(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		id     string
		kind   manifest.Kind
		absent []manifest.Digest
		says   string
	}{
		{name: "untagged", body: `{"stream":"Loaded image ID: sha256:` + hexA + `\n"}`, id: "sha256:" + hexA},
		{name: "tagged", body: `{"stream":"Loaded image: base:1\n"}`},
		{name: "podman", body: `{"stream":"Loaded image: sha256:` + hexA + `"}`, id: "sha256:" + hexA},
		{
			name: "progress before it",
			body: `{"status":"Loading layer","progressDetail":{"current":32768,"total":98816},"id":"aaaaaaaaaaaa"}` + "\r\n" +
				`{"stream":"Loaded image ID: sha256:` + hexA + `\n"}` + "\r\n",
			id: "sha256:" + hexA,
		},
		{name: "platform skipped", body: `{}`, kind: manifest.KindEngine, says: "loaded nothing"},
		{name: "nothing", body: ``, kind: manifest.KindEngine, says: "loaded nothing"},
		{
			name: "errorDetail on 20.10",
			body: `{"errorDetail":{"message":"open /var/lib/docker/tmp/docker-import-1/blobs/sha256/` + hexA + `: no such file or directory"},"error":"open …"}`,
			kind: manifest.KindStale, absent: []manifest.Digest{"sha256:" + hexA},
		},
		{
			name: "error alone", body: `{"error":"unexpected EOF"}`, kind: manifest.KindEngine, says: "unexpected EOF",
		},
		{
			name: "unpacking on the containerd store",
			body: `{"stream":"Loaded image ID: sha256:` + hexA + `\n"}` + `{"stream":"Error unpacking image sha256:` + hexA + `: apply layer error for \"x\": failed to extract layer sha256:` + hexB +
				`: NotFound: failed to get reader from content store: content digest sha256:` + hexB + `: not found\n"}`,
			kind: manifest.KindStale, absent: []manifest.Digest{"sha256:" + hexB},
		},
		{
			name: "unpacking for another reason",
			body: `{"stream":"Error unpacking image x: gzip: invalid header\n"}{"stream":"Loaded image ID: sha256:` + hexA + `\n"}`,
			kind: manifest.KindEngine, says: "gzip: invalid header",
		},
		{
			name: "unpacking on 24",
			body: `{"errorDetail":{"message":"failed to unpack loaded image: content digest sha256:` + hexB + `: not found"}}`,
			kind: manifest.KindStale, absent: []manifest.Digest{"sha256:" + hexB},
		},
		{
			name: "platform not provided",
			body: `{"errorDetail":{"message":"image x was loaded, but doesn't provide the requested platform ([linux/amd64])"}}`,
			kind: manifest.KindStale,
		},
		{
			name: "diffID on a graphdriver store",
			body: `{"errorDetail":{"message":"invalid diffID for layer 1: expected \"sha256:` + hexA + `\", got \"sha256:` + hexB + `\""}}`,
			kind: manifest.KindIntegrity,
		},
		{
			name: "diffID on the containerd store",
			body: `{"stream":"Error unpacking image x: apply layer error: wrong diff id calculated on extraction \"sha256:` + hexB + `\"\n"}`,
			kind: manifest.KindIntegrity,
		},
		{
			name: "space",
			body: `{"errorDetail":{"message":"Error processing tar file(exit status 1): write /blobs/sha256/` + hexA + `: no space left on device"}}`,
			kind: manifest.KindSpace,
		},
		{
			name: "podman lacks a layer", status: 500,
			body: `{"cause":"x","message":"failed to load image: payload does not match any of the supported image formats:\n * oci: initializing source\n` +
				` * oci-archive: reading blob sha256:` + hexA + `: open /tmp/oci1/blobs/sha256/` + hexA + `: no such file or directory\n * docker-archive: Some layer tarfiles are missing\n","response":500}`,
			kind: manifest.KindStale, absent: []manifest.Digest{"sha256:" + hexA}, says: "lacks a layer: reading blob",
		},
		{name: "refused", status: 400, body: `{"message":"invalid query"}`, kind: manifest.KindEngine, says: "invalid query"},
		{name: "proxy", status: 403, body: `<html>no`, kind: manifest.KindEngine, says: "status 403: <html>no"},
		{
			name: "text that would harm a terminal", body: "{\"errorDetail\":{\"message\":\"a\\u001b[31mb\\nc\"}}",
			kind: manifest.KindEngine, says: "a [31mb c",
		},
		{
			name: "moved a name on the way",
			body: `{"stream":"The image x:1 already exists, renaming the old one with ID sha256:` + hexB + ` to empty string\n"}{"stream":"Loaded image ID: sha256:` + hexA + `\n"}`,
			id:   "sha256:" + hexA,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status := tt.status
			if status == 0 {
				status = 200
			}
			id, err := scan(status, strings.NewReader(tt.body))
			if id != tt.id || manifest.KindOf(err) != tt.kind {
				t.Fatalf("got %q, %q: %v", id, manifest.KindOf(err), err)
			}
			var f *manifest.Failure
			if errors.As(err, &f) && !slices.Equal(f.Absent, tt.absent) {
				t.Errorf("absent %v, want %v", f.Absent, tt.absent)
			}
			if err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v does not say %q", err, tt.says)
			}
		})
	}
}

func TestScanBroken(t *testing.T) {
	for _, body := range []string{`{"stream":"Load`, `not JSON`, `{"stream":"Loaded image ID: sha256:` + hexA + `\n"}{"err`} {
		if id, err := scan(200, strings.NewReader(body)); !errors.Is(err, errBroken) {
			t.Errorf("%s: got %q, %v", body, id, err)
		}
	}
}
