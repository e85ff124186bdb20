package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestHostileDocuments makes tars that keep the grammar and hold documents that nobody should have made.
func TestHostileDocuments(t *testing.T) {
	const image, model = 0, 2 // entries of index.json
	// entry changes an entry of index.json, whole something else of the draft.
	entry := func(n int, change func(*manifest.Descriptor)) hostile {
		m := draftRelease()
		change(&m.index.Manifests[n])
		return hostile{tar: m.tar(t), kind: malformedKind}
	}
	whole := func(change func(*draft)) hostile {
		m := draftRelease()
		change(m)
		return hostile{tar: m.tar(t), kind: malformedKind}
	}
	note := func(n int, key, value string) hostile {
		return entry(n, func(e *manifest.Descriptor) { e.Annotations[key] = value })
	}
	about := func(key, value string) hostile { return whole(func(m *draft) { m.index.Annotations[key] = value }) }
	// index replaces text in index.json.
	index := func(from, to string) hostile {
		a := draftRelease().entries()
		raw := bytes.Replace(a[1].data, []byte(from), []byte(to), 1)
		if bytes.Equal(raw, a[1].data) {
			t.Fatalf("%q is not in index.json", from)
		}
		return hostile{tar: a.with("index.json", raw).with(layoutFile, layoutOf(raw)).tar(t), kind: malformedKind}
	}
	// doc changes a manifest and lets index.json name what comes of it.
	doc := func(n int, change func(*ocispec.Manifest)) hostile {
		return whole(func(m *draft) { m.remake(n, change) })
	}
	raw := func(n int, from, to string) hostile {
		return whole(func(m *draft) { m.replace(n, from, to) })
	}
	path := func(p string) hostile {
		return doc(model, func(d *ocispec.Manifest) { d.Layers[0].Annotations[AnnotationFilePath] = p })
	}
	dirs := func(list string) hostile {
		return doc(model, func(d *ocispec.Manifest) { d.Annotations[AnnotationDirs] = list })
	}
	file := func(name string, data string) hostile {
		a := draftRelease().entries()
		if name == indexFile {
			a = a.with(layoutFile, layoutOf([]byte(data)))
		}
		return hostile{tar: a.with(name, []byte(data)).tar(t), kind: malformedKind}
	}
	less := func(e draftFile) hostile {
		return hostile{tar: draftRelease().entries().without(e.name).tar(t), kind: integrityKind}
	}
	diff := func(change func(*draft)) hostile {
		m := draftRelease()
		layer := m.layer(image, 0)
		m.differential(layer.Digest)
		change(m)
		return hostile{tar: m.tar(t), kind: malformedKind}
	}
	drop := func(name string) func(*draft) {
		return func(m *draft) { d, _ := blobDigest(name); m.without[d] = true }
	}
	d := draftRelease()
	evil := manifest.Digest("sha256:../../../../etc/passwd")
	zeros := manifest.Digest("sha256:" + strings.Repeat("0", 64))
	for name, c := range map[string]struct {
		hostile
		says string
	}{
		"no JSON":             {file("index.json", "no"), "not JSON"},
		"JSON twice":          {file("index.json", "{}{}"), "behind its end"},
		"deep":                {file("index.json", strings.Repeat(`{"a":`, 1000)), "deeper"},
		"null":                {file("index.json", "null"), "no bundle"},
		"list":                {file("index.json", "[]"), "index.json"},
		"key twice":           {index(`{"schemaVersion":2`, `{"schemaVersion":2,"schemaVersion":2`), "twice"},
		"key in capitals":     {index(`"manifests":`, `"Manifests":[],"manifests":`), `"Manifests"`},
		"index and manifest":  {index(`"manifests":`, `"layers":[],"manifests":`), "unknown field"},
		"has a config":        {index(`"manifests":`, `"config":{},"manifests":`), "unknown field"},
		"has a subject":       {index(`"manifests":`, `"subject":{"mediaType":"x","digest":"`+string(zeros)+`","size":1},"manifests":`), "about something else"},
		"schema 1":            {index(`"schemaVersion":2`, `"schemaVersion":1`), "schema 1"},
		"no media type":       {whole(func(m *draft) { m.index.MediaType = "" }), "not an image index"},
		"manifest as index":   {whole(func(m *draft) { m.index.MediaType = ocispec.MediaTypeImageManifest }), "not an image index"},
		"no bundle":           {whole(func(m *draft) { m.index.ArtifactType = "" }), "no bundle of clara-push"},
		"other artifact":      {whole(func(m *draft) { m.index.ArtifactType = "application/x" }), "no bundle of clara-push"},
		"nothing in it":       {whole(func(m *draft) { m.index.Manifests = nil }), "names nothing"},
		"too much in it":      {whole(func(m *draft) { m.index.Manifests = make([]manifest.Descriptor, manifest.MaxNamed+1) }), "at most"},
		"created is no time":  {about(AnnotationCreated, "yesterday"), "no time"},
		"version is long":     {about(AnnotationVersion, strings.Repeat("1", maxText+1)), "no text of at most"},
		"version has colours": {about(AnnotationVersion, "\x1b[31m"), "no text of at most"},
		"base is no digest":   {about(AnnotationBase, string(evil)), "not a sha256 digest"},
		"base has no digest":  {about(AnnotationBaseName, "release"), "no digest of it"},
		"base, yet full":      {about(AnnotationBase, string(zeros)), "under which engines would take it for whole"},

		"layout of version 2":     {file("oci-layout", `{"imageLayoutVersion":"2.0.0"}`), `version "2.0.0"`},
		"layout is no JSON":       {file("oci-layout", "1.0.0"), "behind its end"},
		"layout of another tool":  {file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`), "which index.json belongs to it"},
		"layout has more":         {file("oci-layout", `{"imageLayoutVersion":"1.0.0","x":1}`), "unknown field"},
		"manifest.json is other":  {whole(func(m *draft) { m.docker[0]["RepoTags"] = []string{"viewer:latest"} }), "not what follows"},
		"manifest.json has more":  {whole(func(m *draft) { m.docker = append(m.docker, m.docker[0]) }), "not what follows"},
		"manifest.json is no one": {file("manifest.json", "[]"), "not what follows"},
		"manifest.json paths":     {whole(func(m *draft) { m.docker[0]["Config"] = "../../etc/passwd" }), "not what follows"},

		"digest is a path":     {entry(image, func(e *manifest.Descriptor) { e.Digest = evil }), "not a sha256 digest"},
		"digest of other hash": {entry(image, func(e *manifest.Descriptor) { e.Digest = "sha512:aa" }), "not a sha256 digest"},
		"digest in capitals":   {entry(image, func(e *manifest.Descriptor) { e.Digest = manifest.Digest(strings.ToUpper(string(zeros))) }), "not a sha256 digest"},
		"size negative":        {entry(image, func(e *manifest.Descriptor) { e.Size = -1 }), "cannot have -1 bytes"},
		"size of a document":   {entry(image, func(e *manifest.Descriptor) { e.Size = maxDocument + 1 }), "cannot have"},
		"elsewhere":            {entry(image, func(e *manifest.Descriptor) { e.URLs = []string{"http://evil"} }), "somewhere else"},
		"within":               {entry(image, func(e *manifest.Descriptor) { e.Data = []byte("evil") }), "somewhere else"},
		"nested index":         {entry(image, func(e *manifest.Descriptor) { e.MediaType = ocispec.MediaTypeImageIndex }), "not a manifest"},
		"unknown type":         {entry(image, func(e *manifest.Descriptor) { e.MediaType = "text/html" }), "not a manifest"},
		"type of the other":    {entry(image, func(e *manifest.Descriptor) { e.MediaType = manifest.DockerManifest }), "but index.json says"},
		"neither":              {entry(image, func(e *manifest.Descriptor) { delete(e.Annotations, AnnotationRef) }), "image or a model"},
		"both":                 {note(image, AnnotationModel, "x"), "image or a model"},
		"image as model":       {entry(image, func(e *manifest.Descriptor) { e.Annotations = map[string]string{AnnotationModel: "x"} }), "not a model"},
		"model as image":       {entry(model, func(e *manifest.Descriptor) { e.Annotations = map[string]string{AnnotationRef: "x:1"} }), "not a container image"},
		"image has a kind":     {entry(image, func(e *manifest.Descriptor) { e.ArtifactType = ModelType }), "not a container image"},
		"model has no kind":    {entry(model, func(e *manifest.Descriptor) { e.ArtifactType = "" }), "not a model"},
		"ref is none":          {note(image, AnnotationRef, "App:1"), "not the name of an image"},
		"ref is a path":        {note(image, AnnotationRef, "../../app:1"), "not the name of an image"},
		"ref has no tag":       {note(image, AnnotationRef, "app"), "with its tag"},
		"ref has a digest":     {note(image, AnnotationRef, "app:1@"+string(zeros)), "with its tag"},
		"ref is long-winded":   {note(image, AnnotationRef, "docker.io/library/app:1"), "with its tag"},
		"ref has colours":      {note(image, AnnotationRef, "app\x1b[31m:1"), "not the name of an image"},
		"ref twice":            {note(1, AnnotationRef, "app_livertumor:1.2.3"), "two images named"},
		"other name":           {note(image, AnnotationImageName, "docker.io/library/other:1"), "another name to engines"},
		"other short name":     {note(image, AnnotationRefName, "other:1"), "another name to engines"},
		"other platform":       {entry(image, func(e *manifest.Descriptor) { e.Platform.Architecture = "arm64" }), "index.json says linux/arm64"},
		"other diffIDs":        {note(image, AnnotationDiffIDs, string(zeros)), "other layers"},
		"no diffIDs":           {note(image, AnnotationDiffIDs, ""), "other layers"},
		"too few sizes":        {note(image, AnnotationUnpacked, "1,2"), "sizes of 2 layers"},
		"a size negative":      {note(image, AnnotationUnpacked, "1,-2,3"), `cannot unpack to "-2"`},
		"a size absurd":        {note(image, AnnotationUnpacked, "1,9223372036854775808,3"), "cannot unpack to"},
		"a size no number":     {note(image, AnnotationUnpacked, "1,0x2,3"), `cannot unpack to "0x2"`},
		"a size odd":           {note(image, AnnotationUnpacked, "1,+2,3"), `cannot unpack to "+2"`},

		"manifest is an index":  {raw(image, `"layers":[`, `"manifests":[],"layers":[`), "at once"},
		"manifest key twice":    {raw(image, `{"schemaVersion":2`, `{"schemaVersion":2,"schemaVersion":2`), "twice"},
		"manifest in capitals":  {raw(image, `"layers":[`, `"Layers":[],"layers":[`), `"Layers"`},
		"a layer less":          {doc(image, func(d *ocispec.Manifest) { d.Layers = d.Layers[1:] }), "has 2 layers, its configuration 3"},
		"a layer's type":        {doc(image, func(d *ocispec.Manifest) { d.Layers[0].MediaType = "text/html" }), "no engine unpacks"},
		"a layer is encrypted":  {doc(image, func(d *ocispec.Manifest) { d.Layers[0].MediaType += "+encrypted" }), "no engine unpacks"},
		"a layer's digest":      {doc(image, func(d *ocispec.Manifest) { d.Layers[0].Digest = evil }), "not a sha256 digest"},
		"a layer's size":        {doc(image, func(d *ocispec.Manifest) { d.Layers[0].Size = -7 }), "-7 bytes"},
		"many layers":           {doc(image, func(d *ocispec.Manifest) { d.Layers = make([]manifest.Descriptor, manifest.MaxNamed) }), "blobs"},
		"config of no image":    {doc(image, func(d *ocispec.Manifest) { d.Config.MediaType = "x" }), "not a container image"},
		"config is large":       {doc(image, func(d *ocispec.Manifest) { d.Config.Size = maxDocument + 1 }), "more of manifests"},
		"two sizes of one blob": {doc(image, func(d *ocispec.Manifest) { d.Layers[1].Digest = d.Layers[0].Digest }), "two sizes"},

		"model name is a path":    {note(model, AnnotationModel, "../evil"), "cannot be the name of a model"},
		"model name is hidden":    {note(model, AnnotationModel, ".evil"), "cannot be the name of a model"},
		"model name is an option": {note(model, AnnotationModel, "-rf"), "cannot be the name of a model"},
		"no model name":           {note(model, AnnotationModel, ""), "cannot be the name of a model"},
		"model twice":             {note(3, AnnotationModel, "segmentation"), "two models"},
		"model in capitals":       {note(3, AnnotationModel, "SEGMENTATION"), "two models"},
		"file leads out":          {path("../evil"), "cannot be the path"},
		"file leads out, later":   {path("1/../../evil"), "cannot be the path"},
		"file is absolute":        {path("/etc/cron.d/evil"), "cannot be the path"},
		"file is the model":       {path("."), "cannot be the path"},
		"file has no name":        {path(""), "cannot be the path"},
		"file has a zero":         {path("1/a\x00b"), "cannot be the path"},
		"file name is unclean":    {path("1//model"), "cannot be the path"},
		"file without a folder":   {path("9/model.onnx"), "no folder for it"},
		"file is a folder":        {path("1"), "both"},
		"file twice":              {path("config.pbtxt"), "both"},
		"file in capitals":        {path("Config.pbtxt"), "both"},
		"file in odd capitals":    {path("2/model.on\u004ex"), "both"},
		"file below a file":       {path("config.pbtxt/x"), "no folder for it"},
		"file is an archive":      {doc(model, func(d *ocispec.Manifest) { d.Layers[0].MediaType = "application/vnd.cncf.model.weight.v1.tar" }), "not as it is"},
		"file is a layer":         {doc(model, func(d *ocispec.Manifest) { d.Layers[0].MediaType = ocispec.MediaTypeImageLayer }), "not as it is"},
		"folder leads out":        {dirs(`["1","2","../evil"]`), "cannot be the path"},
		"folder is absolute":      {dirs(`["1","2","/evil"]`), "cannot be the path"},
		"folder twice":            {dirs(`["1","2","2"]`), "twice"},
		"folder in capitals":      {dirs(`["1","2","a","A"]`), "both"},
		"folder without parent":   {dirs(`["1","2","a/b"]`), "no folder for it"},
		"folders are no list":     {dirs(`{"1":"2"}`), "no list"},
		"folders are numbers":     {dirs(`[1,2]`), "no list"},
		"folders are nothing":     {dirs(`["1","2",null]`), "cannot be the path"},
		"after is a path":         {doc(3, func(d *ocispec.Manifest) { d.Annotations[AnnotationAfter] = `["../x"]` }), "cannot be the name of a model"},
		"model kind":              {doc(model, func(d *ocispec.Manifest) { d.ArtifactType = "x" }), "not a model"},
		"model config":            {doc(model, func(d *ocispec.Manifest) { d.Config.MediaType = ocispec.MediaTypeImageConfig }), "not a model"},

		"a layer is missing":    {less(d.blobs[0]), "incomplete: layer 0 of app_livertumor:1.2.3"},
		"a config is missing":   {less(d.named(image)[1]), "incomplete: the configuration of app_livertumor:1.2.3"},
		"a manifest is missing": {less(d.named(image)[0]), "incomplete: the manifest of app_livertumor:1.2.3"},
		"a file is missing":     {less(d.blobs[len(d.blobs)-1]), "incomplete: "},
		"a blob is shorter":     {hostile{tar: d.entries().with(d.blobs[0].name, []byte("x")).tar(t), kind: integrityKind}, "has 1 bytes instead of"},
		"a config is other":     {hostile{tar: d.entries().with(d.named(image)[1].name, flipped(d.named(image)[1].data)).tar(t), kind: integrityKind}, "is damaged"},
		"a manifest is other":   {hostile{tar: d.entries().with(d.named(image)[0].name, flipped(d.named(image)[0].data)).tar(t), kind: integrityKind}, "is damaged"},

		"part, with manifest.json": {diff(func(m *draft) { m.docker = draftRelease().docker }), "has a manifest.json"},
		"part, with names":         {diff(func(m *draft) { m.index.Manifests[1].Annotations[AnnotationRefName] = "viewer:latest" }), "differential bundle gives an image the name"},
		"part, without a manifest": {asIntegrity(diff(drop(d.named(image)[0].name))), "incomplete: the manifest"},
		"part, without a config":   {asIntegrity(diff(drop(d.named(image)[1].name))), "incomplete: the configuration"},
		"part, without a model's":  {asIntegrity(diff(drop(d.named(model)[1].name))), "incomplete: the configuration of segmentation"},
		"part, of a part":          {diff(func(m *draft) { m.index.Annotations[AnnotationBase] = "" }), "not a sha256 digest"},
		"index is not as it was":   {asIntegrity(file(layoutFile, `{"imageLayoutVersion":"1.0.0","io.github.clara-push.index":"`+string(zeros)+`"}`)), "not as it was made"},
	} {
		t.Run(name, func(t *testing.T) {
			c.hostile.says = c.says
			refused(t, c.hostile)
		})
	}
}

func asIntegrity(h hostile) hostile {
	h.kind = integrityKind
	return h
}

func flipped(data []byte) []byte {
	data = bytes.Clone(data)
	data[len(data)/2] ^= 1
	return data
}

// named are the files of an entry of index.json: its manifest and its configuration.
func (m *draft) named(n int) []draftFile {
	e := m.index.Manifests[n]
	raw := m.data(e.Digest)
	var d ocispec.Manifest
	if err := json.Unmarshal(raw, &d); err != nil {
		panic(err)
	}
	return []draftFile{{blobPath(e.Digest), raw}, {blobPath(d.Config.Digest), m.data(d.Config.Digest)}}
}

func (m *draft) data(d manifest.Digest) []byte {
	return m.blobs[draftFiles(m.blobs).at(blobPath(d))].data
}

// layer is a layer of an image.
func (m *draft) layer(n, layer int) manifest.Descriptor {
	var d ocispec.Manifest
	if err := json.Unmarshal(m.data(m.index.Manifests[n].Digest), &d); err != nil {
		panic(err)
	}
	return d.Layers[layer]
}

// remake changes the manifest of an entry of index.json and has the entry name it.
func (m *draft) remake(n int, change func(*ocispec.Manifest)) {
	var d ocispec.Manifest
	if err := json.Unmarshal(m.data(m.index.Manifests[n].Digest), &d); err != nil {
		panic(err)
	}
	change(&d)
	m.put(n, jsonOf(d))
}

// replace does so by text.
func (m *draft) replace(n int, from, to string) {
	raw := m.data(m.index.Manifests[n].Digest)
	changed := bytes.Replace(raw, []byte(from), []byte(to), 1)
	if bytes.Equal(raw, changed) {
		panic(fmt.Sprintf("%q is not in the manifest", from))
	}
	m.put(n, changed)
}

func (m *draft) put(n int, raw []byte) {
	e := &m.index.Manifests[n]
	at := draftFiles(m.blobs).at(blobPath(e.Digest))
	e.Digest, e.Size = digest.FromBytes(raw), int64(len(raw))
	m.rank[blobPath(e.Digest)] = m.rank[m.blobs[at].name]
	m.blobs[at] = draftFile{blobPath(e.Digest), raw}
}
