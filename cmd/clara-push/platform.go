package main

import (
	"errors"
	"regexp"
	"strings"

	"github.com/containerd/platforms"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// platform is a flag's value such as linux/arm64; the zero value leaves the choice to the host.
type platform manifest.Platform

var platformForm = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?$`)

// Set reads OS/ARCHITECTURE[/VARIANT]; other names of an architecture, such as aarch64, become Go's.
func (p *platform) Set(s string) error {
	if !platformForm.MatchString(s) {
		return errors.New("write OS/ARCHITECTURE, such as linux/amd64")
	}
	parts := append(strings.Split(s, "/"), "")
	*p = platform(platforms.Normalize(manifest.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}))
	return nil
}

func (p *platform) String() string {
	if p.OS == "" {
		return ""
	}
	return manifest.FormatPlatform(manifest.Platform(*p))
}

// Type is the word for the value in the help.
func (p *platform) Type() string { return "os/arch" }
