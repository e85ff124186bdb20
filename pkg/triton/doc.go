// Package triton holds the rules of a Triton model repository: it reads a model directory as Triton would and says what
// the server would refuse, misread or ignore, at which place, and what to do about it.
//
// It is not for placing models (package loader) nor for reading them to send them (package source). It reads only: nothing
// is executed, nothing changed, no network used, and of large files only the beginning and the end are looked at.
//
// The rules come from Triton's sources and documents: TRTIS 1.5.0 (container 19.08) up to Triton 2.75 (26.11). Where
// servers differ, Options.Version decides.
//
// Read Check and Report first, then fields.txt (what a config.pbtxt may say), backends.go (which files a backend needs)
// and rules.go (every rule by name).
package triton
