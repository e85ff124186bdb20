package manifest

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Descriptor names a blob: digest, size in bytes, media type, annotations. A Size of UnknownSize is allowed before the
// source has read the blob.
type Descriptor = ocispec.Descriptor

// Digest is "sha256:" and 64 lower-case hexadecimal digits once CheckDigest has passed it.
type Digest = digest.Digest

// Platform is an operating system and architecture in Go's words, e.g. linux/amd64.
type Platform = ocispec.Platform

// UnknownSize marks a size that only reading the blob will tell: a graphdriver engine does not say how large its layers
// are before it has saved them.
const UnknownSize int64 = -1

// CheckDigest reports whether d is a sha256 digest in its one canonical form. Nothing else may become part of a path.
func CheckDigest(d Digest) error {
	hex, found := strings.CutPrefix(string(d), "sha256:")
	if !found || len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return Fail(KindMalformed, "", "%.100q is not a sha256 digest", string(d))
	}
	return nil
}

// Layer is one layer of an image: its blob as the source holds it, and the digest of its uncompressed tar.
type Layer struct {
	Descriptor
	DiffID Digest `json:"diffID"`
	// Unpacked estimates the size of the uncompressed layer in bytes; 0 when nobody told.
	Unpacked int64 `json:"unpacked,omitempty"`
}

// Image is one image of one platform, as the source has it.
type Image struct {
	// Ref is the name that the image shall have on the host, familiar form with tag: "app_livertumor:latest".
	Ref string `json:"ref"`
	// Manifest is the source's own OCI or Docker manifest. Its Digest is empty where the source has none (a graphdriver
	// engine, a docker-archive): then one is composed.
	Manifest Descriptor `json:"manifest"`
	// Config is the image configuration: what identifies an image on every kind of store.
	Config Descriptor `json:"config"`
	// Layers from the base upwards.
	Layers   []Layer  `json:"layers"`
	Platform Platform `json:"platform"`
	// Origin says where the image was found, for people: "Docker Engine 20.10.24 (overlay2)".
	Origin string `json:"origin"`
	// LeftBehind says what does not travel: attestations, other platforms.
	LeftBehind []string `json:"leftBehind,omitempty"`
}

// DiffIDs returns the layers' diffIDs, base first.
func (i Image) DiffIDs() []Digest {
	ids := make([]Digest, len(i.Layers))
	for n, l := range i.Layers {
		ids[n] = l.DiffID
	}
	return ids
}

// Artifacts is everything that one push brings.
type Artifacts struct {
	Images []Image `json:"images,omitempty"`
	Models []Model `json:"models,omitempty"`
	// Provenance tells of the bundle that they came in; nil for any other source.
	Provenance *Provenance `json:"provenance,omitempty"`
	// Lacking are blobs that the source names and does not have, because the host is supposed to: those that a differential
	// bundle leaves out. A plan that would need to send one is refused with KindNotFound.
	Lacking []Digest `json:"lacking,omitempty"`
}

// ChainIDs returns the chain ID of each prefix of diffIDs, as the OCI image specification defines them
// (https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid).
func ChainIDs(diffIDs []Digest) []Digest {
	chain := make([]Digest, len(diffIDs))
	for n, d := range diffIDs {
		if n == 0 {
			chain[0] = d
			continue
		}
		chain[n] = digest.FromString(string(chain[n-1]) + " " + string(d))
	}
	return chain
}

// FormatPlatform writes p as "linux/amd64" or "linux/arm64/v8"; "any platform" for the zero value.
func FormatPlatform(p Platform) string {
	if p.OS == "" && p.Architecture == "" {
		return "any platform"
	}
	if p.Variant != "" {
		return fmt.Sprintf("%s/%s/%s", p.OS, p.Architecture, p.Variant)
	}
	return p.OS + "/" + p.Architecture
}
