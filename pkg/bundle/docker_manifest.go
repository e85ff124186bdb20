package bundle

import (
	"encoding/json"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// dockerImage is one entry of Docker's manifest.json.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// deriveDocker writes the manifest.json that belongs to images, in the order of index.json.
func deriveDocker(images []manifest.Image) ([]byte, error) {
	all := make([]dockerImage, len(images))
	for n, img := range images {
		all[n] = dockerImage{Config: blobPath(img.Config.Digest), RepoTags: []string{img.Ref}, Layers: make([]string, len(img.Layers))}
		for i, l := range img.Layers {
			all[n].Layers[i] = blobPath(l.Digest)
		}
	}
	return json.Marshal(all)
}

// blobPath is where a blob lies in a layout. The digest must have passed CheckDigest.
func blobPath(d manifest.Digest) string { return blobFolder + d.Encoded() }
