package bundle

import (
	"fmt"
	"strings"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Contents is what is in a bundle, for people and programs. Sizes are bytes. Everything is the bundle's own claim: whether it
// is signed by somebody who may is for package signature to say.
type Contents struct {
	Digest manifest.Digest `json:"digest"` // of index.json
	Form   Form            `json:"form"`

	Application string    `json:"application,omitempty"`
	Version     string    `json:"version,omitempty"`
	Tool        string    `json:"tool,omitempty"`
	Created     time.Time `json:"created,omitzero"`
	// Base is what a differential bundle builds on, BaseName what people call that; empty for a full one.
	Base     manifest.Digest `json:"base,omitempty"`
	BaseName string          `json:"baseName,omitempty"`

	Images []ImageContents `json:"images,omitempty"`
	Models []ModelContents `json:"models,omitempty"`

	// Blobs is how many blobs the bundle has, Size their bytes; Lacking how many it leaves out, LackingSize theirs.
	Blobs       int      `json:"blobs"`
	Size        int64    `json:"size"`
	Lacking     int      `json:"lacking,omitempty"`
	LackingSize int64    `json:"lackingSize,omitempty"`
	Warnings    []string `json:"warnings,omitempty"`
}

// ImageContents is one image.
type ImageContents struct {
	Ref      string          `json:"ref"`
	Platform string          `json:"platform"`
	Manifest manifest.Digest `json:"manifest"`
	Config   manifest.Digest `json:"config"`
	Size     int64           `json:"size"` // of the layers as they are stored, those left out included
	Unpacked int64           `json:"unpacked"`
	Layers   []LayerContents `json:"layers"`
}

// LayerContents is one layer, the base first.
type LayerContents struct {
	Digest    manifest.Digest `json:"digest"`
	DiffID    manifest.Digest `json:"diffID"`
	MediaType string          `json:"mediaType"`
	Size      int64           `json:"size"`
	Unpacked  int64           `json:"unpacked,omitempty"` // 0 when the bundle does not tell
	Lacking   bool            `json:"lacking,omitempty"`
}

// ModelContents is one model.
type ModelContents struct {
	Name  string         `json:"name"`
	After []string       `json:"after,omitempty"`
	Size  int64          `json:"size"` // of the files, those left out included
	Dirs  []string       `json:"dirs,omitempty"`
	Files []FileContents `json:"files,omitempty"`
}

// FileContents is one file of a model.
type FileContents struct {
	Path    string          `json:"path"`
	Digest  manifest.Digest `json:"digest"`
	Size    int64           `json:"size"`
	Lacking bool            `json:"lacking,omitempty"`
}

// Contents tells what is in the bundle, whatever Select has left of it.
func (b *Bundle) Contents() Contents {
	a := b.doc.Annotations
	c := Contents{
		Digest: b.Digest(), Form: b.form, Created: b.created,
		Application: a[AnnotationApplication], Version: a[AnnotationVersion], Tool: a[AnnotationTool],
		Base: manifest.Digest(a[AnnotationBase]), BaseName: a[AnnotationBaseName],
	}
	for k, size := range b.sizes {
		if b.lacks(k.digest()) {
			c.Lacking++
			c.LackingSize += size
		} else {
			c.Blobs++
			c.Size += size
		}
	}
	for _, i := range b.images {
		c.Images = append(c.Images, b.imageContents(i))
	}
	for _, m := range b.models {
		c.Models = append(c.Models, b.modelContents(m))
	}
	c.Warnings = warnings(b.images)
	return c
}

func (b *Bundle) lacks(d manifest.Digest) bool {
	_, ok := b.in.size(d)
	return !ok
}

func (b *Bundle) imageContents(i manifest.Image) ImageContents {
	c := ImageContents{Ref: i.Ref, Platform: manifest.FormatPlatform(i.Platform), Manifest: i.Manifest.Digest, Config: i.Config.Digest}
	for _, l := range i.Layers {
		c.Size += l.Size
		c.Unpacked += l.Unpacked
		c.Layers = append(c.Layers, LayerContents{
			Digest: l.Digest, DiffID: l.DiffID, MediaType: l.MediaType, Size: l.Size, Unpacked: l.Unpacked, Lacking: b.lacks(l.Digest),
		})
	}
	return c
}

func (b *Bundle) modelContents(m manifest.Model) ModelContents {
	c := ModelContents{Name: m.Name, After: m.After, Size: m.Size(), Dirs: m.Dirs}
	for _, f := range m.Files {
		c.Files = append(c.Files, FileContents{Path: f.Path, Digest: f.Digest, Size: f.Size, Lacking: b.lacks(f.Digest)})
	}
	return c
}

// warnings says which engines cannot read what is in it.
func warnings(images []manifest.Image) []string {
	var all []string
	for _, i := range images {
		n := 0
		for _, l := range i.Layers {
			if strings.HasSuffix(l.MediaType, "zstd") {
				n++
			}
		}
		if n > 0 {
			all = append(all, fmt.Sprintf("%s: %d of its layers are compressed by zstd, which plain docker load cannot read before Docker 23; clara-push load can", i.Ref, n))
		}
	}
	return all
}
