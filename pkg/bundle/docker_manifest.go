package bundle

import (
	"encoding/json"

	"github.com/distribution/reference"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// dockerImage is one entry of Docker's manifest.json.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// deriveDocker writes the manifest.json that belongs to images, in the order of index.json. The names are full ones: podman
// takes "app:1" in an archive for localhost/app:1, and in a layout, by its full name, for docker.io/library/app:1.
func deriveDocker(images []manifest.Image) ([]byte, error) {
	all := make([]dockerImage, len(images))
	for n, img := range images {
		name, err := reference.ParseNormalizedNamed(img.Ref)
		if err != nil {
			return nil, malformed("%.200q is not the name of an image: %w", img.Ref, err)
		}
		all[n] = dockerImage{Config: blobPath(img.Config.Digest), RepoTags: []string{name.String()}, Layers: make([]string, len(img.Layers))}
		for i, l := range img.Layers {
			all[n].Layers[i] = blobPath(l.Digest)
		}
	}
	return json.Marshal(all)
}

// blobPath is where a blob lies in a layout. The digest must have passed CheckDigest.
func blobPath(d manifest.Digest) string { return blobFolder + d.Encoded() }
