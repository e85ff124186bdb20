//go:build !unix

package link

func shrinkBuffer(uintptr) {}
