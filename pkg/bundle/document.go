package bundle

import ocispec "github.com/opencontainers/image-spec/specs-go/v1"

// A bundle is an OCI image layout. As a tar it holds, in this order: oci-layout, index.json, index.json.sig, manifest.json,
// and the blobs, each once, in the order in which loading reads them:
//
//  1. the documents: of each image its manifest and its configuration, then of each model likewise. They are small, and who
//     has read so far knows every blob, its size, and whether there is room, before the first large one;
//  2. the layers of each image from the base upwards;
//  3. the files of each model by path.
//
// Images and models stand as in index.json. Every entry of the tar is a regular file with a plain ustar header: mode 0644, user
// and group 0 without names, one time for all (the Unix epoch, or the time of AnnotationCreated). A size of 8 GiB and more
// is written in base 256, as GNU tar does. There are no folders, no other kinds of entries and no extended headers; the tar
// ends with two blocks of zeros and nothing behind them.

// The files of a bundle, in this order. manifest.json is Docker's; it is derived from the index and only written, for a
// bundle that plain docker load shall read, never believed.
const (
	layoutFile    = ocispec.ImageLayoutFile // oci-layout
	indexFile     = ocispec.ImageIndexFile  // index.json, the root of trust
	signatureFile = "index.json.sig"        // SSHSIG over the bytes of index.json; absent when nobody signed
	dockerFile    = "manifest.json"         // absent in a differential bundle
	blobFolder    = "blobs/sha256/"
)

// SignatureNamespace is the SSHSIG namespace of bundles, so that a signature made for something else does not count.
const SignatureNamespace = "clara-push-bundle"

// IndexType is the artifact type of a bundle's index.json.
const IndexType = "application/vnd.clara-push.bundle.v1+json"

// Annotations of index.json.
const (
	AnnotationApplication = "io.github.clara-push.application"
	AnnotationVersion     = "io.github.clara-push.version"
	AnnotationTool        = "io.github.clara-push.tool"
	// AnnotationCreated is RFC 3339. It is there when the bundle is signed, as the signing time that its maker claims, or
	// when SOURCE_DATE_EPOCH is set; else the same inputs would not give the same bytes.
	AnnotationCreated = ocispec.AnnotationCreated
	// AnnotationBase marks a differential bundle: the digest of the index.json, or of the inventory, that it builds on.
	// AnnotationBaseName says what that was, for people.
	AnnotationBase     = "io.github.clara-push.base"
	AnnotationBaseName = "io.github.clara-push.base.name"
)

// Annotations of the descriptors in index.json.
const (
	// AnnotationRef is the name that an image shall have on the host, familiar form with tag.
	AnnotationRef = "io.github.clara-push.ref"
	// AnnotationImageName and AnnotationRefName are what engines and other tools go by; a differential bundle has neither,
	// so that no engine gives a name to what it has only in part.
	AnnotationImageName = "io.containerd.image.name"
	AnnotationRefName   = ocispec.AnnotationRefName
	// AnnotationDiffIDs and AnnotationUnpacked list the diffIDs and the uncompressed sizes in bytes of an image's layers, base
	// first, separated by commas; a size is 0 where the compressed layer does not tell it.
	AnnotationDiffIDs  = "io.github.clara-push.diff-ids"
	AnnotationUnpacked = "io.github.clara-push.unpacked"
	// AnnotationModel is the name of a model's directory.
	AnnotationModel = "io.github.clara-push.model"
)

// Models are OCI artifacts as the CNCF ModelPack specification has them
// (https://github.com/modelpack/model-spec/blob/main/docs/spec.md): one file a layer.
const (
	ModelType       = "application/vnd.cncf.model.manifest.v1+json"
	ModelConfigType = "application/vnd.cncf.model.config.v1+json"
	// ModelWeightType is the media type of a model's files, ModelWeightConfigType that of its config.pbtxt.
	ModelWeightType       = "application/vnd.cncf.model.weight.v1.raw"
	ModelWeightConfigType = "application/vnd.cncf.model.weight.config.v1.raw"
	// AnnotationFilePath, of a layer, is the file's slash path below the model directory.
	AnnotationFilePath = "org.cncf.model.filepath"
	// AnnotationDirs, of a model's manifest, is the JSON array of all directories below the model directory; AnnotationAfter
	// that of the models that must be placed before it.
	AnnotationDirs  = "io.github.clara-push.model.dirs"
	AnnotationAfter = "io.github.clara-push.model.after"
)
