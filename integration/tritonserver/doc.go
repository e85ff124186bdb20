// Package tritonserver is a stand-in for Triton Inference Server: it serves the answers of its V1 and V2 protocols about a
// real model repository, finds models and notices changes by Triton's rules, and complains about everything that would make
// a real server refuse, unload or misread something. It serves no inference and runs no backend: a model loads when its files
// can be read.
//
// The rules and texts are those of TRTIS 1.5.0 (19.08), 1.15.0 (20.07-v1), Triton 2.1.0 and today's core. Where a server
// blocks while it loads, so does this one.
//
// Read Options and Server first, then repository.go, which looks at a repository as Triton does.
package tritonserver
