package main

import (
	"errors"
	"fmt"

	"github.com/clara-push/clara-push/pkg/bundle"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// size is a flag's value in bytes; 0 when it was not given.
type size int64

// leastPart is the smallest part that makes sense on any medium.
const leastPart size = 64 << 10

// Set reads "4GB", "700M", "1.5GiB".
func (s *size) Set(text string) error {
	n, ok := parseAmount(text)
	switch {
	case !ok || n > 1<<50:
		return errors.New("not a size: write bytes, such as 4GB, 700M or 1.5GiB")
	case n < float64(leastPart):
		return fmt.Errorf("too small: %s is the least", manifest.FormatBytes(int64(leastPart)))
	}
	*s = size(n)
	return nil
}

func (s *size) String() string {
	if *s == 0 {
		return ""
	}
	return manifest.FormatBytes(int64(*s))
}

// Type is the word for the value in the help.
func (s *size) Type() string { return "size" }

// compression is a flag's value; the zero value is gzip.
type compression bundle.Compression

// Set reads the name of a compression.
func (c *compression) Set(text string) error {
	switch text {
	case "gzip":
		*c = compression(bundle.Gzip)
	case "zstd", "none":
		*c = compression(text)
	default:
		return errors.New("write gzip, zstd or none")
	}
	return nil
}

func (c *compression) String() string { return string(*c) }

// Type is the word for the value in the help.
func (c *compression) Type() string { return "name" }
