// Package source finds images where the user has them and reads their bytes: in the local container engine, in a
// registry, in an archive made by docker save or its relatives, in an OCI image layout.
//
// It is not for placing images (package loader) nor for moving them (package transfer); it never changes what it reads.
// Everything it reads is hostile until checked: documents are capped and matched with their digests, blobs are hashed
// while they are read, names in archives follow a fixed grammar.
//
// Read Open and Images first, then origin, which each kind of place implements: layoutOrigin (archives and layouts),
// registryOrigin, contentOrigin (an engine whose content store can be read) and saveOrigin (one that must be asked for a
// docker save).
package source
