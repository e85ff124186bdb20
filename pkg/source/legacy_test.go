package source

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// What Docker 20.10.24 wrote in a docker save of an image of three layers, in the order of the archive.
const (
	noConfig  = `{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,"Image":"","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null}`
	topConfig = `{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":%s,"Image":"sha256:05313847cc202b39b541cb108ed756f5aa08a7a28e3b2f8d9115d83d27bb9261","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null}`

	baseID = "1ec4523644b0a31a494f60d8e55a844d9eb885f2d849f972d8a22db1700b966d"
	topID  = "a37fd45897cfcf89a3d8a8c6899088eeb615307c0df13d4711272f2ce7913293"
	midID  = "fdf7ae5f245fd2d8f2f2cdf930d6d95417a5d3633a6840d571bccdb8c682765b"
)

var docker2010 = []struct {
	id, json string
	position int
}{
	{baseID, `{"id":"` + baseID + `","created":"1970-01-01T00:00:00Z","container_config":` + noConfig + `,"os":"linux"}`, 0},
	{topID, `{"id":"` + topID + `","parent":"` + midID + `","created":"2026-11-22T14:50:22.389585307Z","container_config":` +
		fmt.Sprintf(topConfig, `["/bin/sh","-c","#(nop) COPY dir:f8e5c52e0039280d0d451688c6be11d869b15dbd973528f10b4cc1634470afb2 in / "]`) +
		`,"docker_version":"20.10.24+dfsg1","config":` + fmt.Sprintf(topConfig, `["/hello"]`) + `,"architecture":"amd64","os":"linux"}`, 2},
	{midID, `{"id":"` + midID + `","parent":"` + baseID + `","created":"1970-01-01T00:00:00Z","container_config":` + noConfig + `,"os":"linux"}`, 1},
}

var docker2010Layers = []manifest.Digest{
	"sha256:7c75147cb548a1b751bea79464b9db1604009810664d2b2f5e51d125fa782791",
	"sha256:7fc174f96a8f11c51ef359e78f42f8f522ea2d06911d0c13a84b161399087062",
	"sha256:93f543139eecc147e96090cd52c4d955751e52b22ab9f9444cb5f56484715fcb",
}

// Every layer is known for sure as soon as its json file has been read, in whatever order they come.
func TestLegacyIDs(t *testing.T) {
	l := newLegacy(docker2010Layers)
	for _, e := range docker2010 {
		if d, _ := l.diffID(e.id); d != "" {
			t.Errorf("%s is known before its json file", e.id)
		}
		l.learn(e.id, []byte(e.json))
		if d, sure := l.diffID(e.id); d != docker2010Layers[e.position] || !sure {
			t.Errorf("%s is %s (sure: %v), want layer %d", e.id, d, sure, e.position)
		}
	}
}

// Without IDs that can be computed, parents tell what they can, and never for sure.
func TestLegacyParents(t *testing.T) {
	l := newLegacy(docker2010Layers)
	for _, c := range []struct {
		id, json string
		want     manifest.Digest
	}{
		{"c", `{"parent":"b"}`, ""},
		{"a", `{}`, docker2010Layers[0]},
		{"b", `{"parent":"a"}`, docker2010Layers[1]},
		{"d", `{"parent":"b"}`, docker2010Layers[2]},
		{"e", `{"parent":"d"}`, ""}, // more layers than the image has
		{"f", `no JSON`, ""},
		{"g", `{"parent":5}`, ""},
		{"h", `[]`, ""},
	} {
		l.learn(c.id, []byte(c.json))
		if d, sure := l.diffID(c.id); d != c.want || sure {
			t.Errorf("%s is %s (sure: %v), want %s", c.id, d, sure, c.want)
		}
	}
	if d, _ := newLegacy(nil).diffID("a"); d != "" {
		t.Errorf("an image without layers has layer %s", d)
	}
	var none map[string]json.RawMessage
	newLegacy(nil).learn("a", encode(none))
}
