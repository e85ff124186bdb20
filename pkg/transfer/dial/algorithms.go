package dial

import (
	"slices"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/sshkey"
)

// signatureTypes are the algorithms with which a key of type t may sign, named as in the algorithm lists, best first.
func signatureTypes(t string) []string {
	switch t {
	case ssh.KeyAlgoRSA:
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSA}
	case ssh.CertAlgoRSAv01:
		return []string{ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01, ssh.CertAlgoRSAv01}
	}
	return []string{t}
}

// hostKeyOrder is the order in which kinds of host key are asked for: first what known_hosts can check. Without that a
// host that has several keys shows one we do not know, which looks like a changed key (golang/go#29286).
func (s *settings) hostKeyOrder(known *knownHosts) []string {
	types, hasAuthority := known.kinds(s.place())
	all := s.allowedHostKeys()
	rank := func(algorithm string) int {
		isCert := sshkey.BaseType(algorithm) != algorithm
		switch {
		case isCert && hasAuthority:
			return 0
		case isCert:
			return 3
		case slices.ContainsFunc(types, func(t string) bool { return slices.Contains(signatureTypes(t), algorithm) }):
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b string) int { return rank(a) - rank(b) })
	return all
}

// ourHostKeys is the order where nothing else decides. SHA-1 is used only when HostKeyAlgorithms asks for it.
var ourHostKeys = []string{
	ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01, ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
	ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
}

func (s *settings) allowedHostKeys() []string {
	return either(s.hostKeys, append(slices.Clone(ourHostKeys), ssh.KeyAlgoRSA, ssh.CertAlgoRSAv01), ourHostKeys)
}

// plainFamilies are the kinds of host key one at a time, to find the one with a given fingerprint.
func (s *settings) plainFamilies() [][]string {
	var out [][]string
	for _, family := range [][]string{
		{ssh.KeyAlgoED25519}, {ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521}, {ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
	} {
		if f := wanted(s.allowedHostKeys(), family); len(f) > 0 {
			out = append(out, f)
		}
	}
	return out
}

// transportAlgorithms honours Ciphers, KexAlgorithms and MACs of ssh_config as a set: the order stays that of
// x/crypto/ssh, which puts AES-128-GCM first, at half the processor time of OpenSSH's first choice.
func (s *settings) transportAlgorithms() ssh.Config {
	good, old := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
	c := ssh.Config{
		Ciphers:      either(s.ciphers, slices.Concat(good.Ciphers, old.Ciphers), good.Ciphers),
		KeyExchanges: either(s.exchanges, slices.Concat(good.KeyExchanges, old.KeyExchanges), good.KeyExchanges),
		MACs:         either(s.macs, slices.Concat(good.MACs, old.MACs), good.MACs),
	}
	// An ssh older than this exchange does not list it; it is at least as strong as the one it contains.
	if hybrid := ssh.KeyExchangeMLKEM768X25519; slices.Contains(c.KeyExchanges, ssh.KeyExchangeCurve25519) && !slices.Contains(c.KeyExchanges, hybrid) {
		c.KeyExchanges = append([]string{hybrid}, c.KeyExchanges...)
	}
	return c
}

// either returns those of supported that are asked for, in supported's order, or usual when nothing was asked for or
// nothing of it is supported.
func either(asked, supported, usual []string) []string {
	if out := wanted(asked, supported); len(out) > 0 {
		return out
	}
	return slices.Clone(usual)
}

func wanted(asked, supported []string) []string {
	var out []string
	for _, s := range supported {
		if slices.Contains(asked, s) {
			out = append(out, s)
		}
	}
	return out
}
