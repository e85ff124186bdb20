// Package bundle stores a release, images and models, as one OCI image layout in a tar, in a folder, or cut into parts, for
// hosts that no network reaches. Write makes one; Open reads one and yields its artifacts as any other source does, so that
// loading a bundle and pushing to a host are the same thing.
//
// It is not for loading (package loader) and decides nothing about who may be trusted (package signature beside it).
// Whatever it reads is hostile: a stick may have been anywhere, and may answer differently the second time.
//
// Read document.go first: it is the format.
package bundle
