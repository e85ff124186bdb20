package manifest

import "time"

// Provenance says in which bundle the artifacts of a push came. Everything but Bundle and what was checked by us (Signer,
// Key) is the bundle's own claim.
type Provenance struct {
	// Bundle is the digest of the bundle's index.json, which names everything in it.
	Bundle Digest `json:"bundle"`
	// Application and Version are what the bundle is a release of; empty where it does not say.
	Application string `json:"application,omitempty"`
	Version     string `json:"version,omitempty"`
	// Created is the time that the bundle claims for itself; zero where it claims none.
	Created time.Time `json:"created,omitzero"`
	// Base is what a differential bundle builds on, for people: "release-1.tar (sha256:…)"; empty for a full one.
	Base string `json:"base,omitempty"`
	// Signer is the principal whose key signed the bundle, Key its fingerprint ("SHA256:…"); both empty when it was let
	// through unsigned.
	Signer string `json:"signer,omitempty"`
	Key    string `json:"key,omitempty"`
}

// Release is a version of an application that was loaded to a host from a bundle.
type Release struct {
	Application string    `json:"application"`
	Version     string    `json:"version"`
	Receipt     string    `json:"receipt"` // ID
	Loaded      time.Time `json:"loaded"`
}
