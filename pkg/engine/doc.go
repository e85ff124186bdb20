// Package engine speaks to a container engine: Docker's API over its socket, podman's imitation of it, and the read-only
// content store that engines with the containerd store offer over the same socket.
//
// It finds the engine as the docker CLI does, tells what kind it is, lists and saves images, loads archives, moves names,
// and reads single blobs. It knows nothing of pushes: what an archive holds and when a name may move is decided in
// package loader; where images come from, in package source.
//
// Read Engine first, then Load, whose errors carry the kinds that a push depends on, then Content.
//
// The content store is spoken to with a few hand-written protobuf messages over the HTTP/2 of the standard library: with
// grpc-go and containerd's API package the stripped binary grew by 6 MB, for two calls.
package engine
