// Package sshkey opens the SSH keys of the person at work: key files, with the passphrase asked for only when it is needed,
// the certificates beside them, and ssh-agent. It also names keys as people compare them.
//
// It is for whoever signs with such a key: package dial to log in, package signature to sign a bundle. Whom to trust is not
// its business.
//
// Read File first, then Agent.
package sshkey
