package main

import (
	"context"
	"time"

	"github.com/spf13/pflag"

	"github.com/clara-push/clara-push/pkg/bundle"
	"github.com/clara-push/clara-push/pkg/bundle/signature"
	"github.com/clara-push/clara-push/pkg/manifest"
)

// trustOptions are the flags about whose bundles are trusted; the same for every command that reads one.
type trustOptions struct {
	allowedSigners string
	revoked        string
	allowUnsigned  bool
	principal      string
	verifyTime     moment
}

func (o *trustOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.allowedSigners, "allowed-signers", "", "`file` that says who may sign bundles, as ssh-keygen(1) has it (default: clara-push/allowed_signers in ~/.config and in /etc)")
	f.StringVar(&o.principal, "principal", "", "`name` in allowed signers of whom the bundle must be from (default: anybody there)")
	f.StringVar(&o.revoked, "revoked", "", "`file` of keys that count no more: public keys, fingerprints or a KRL; clara-push/revoked_signers in ~/.config and in /etc count beside it")
	f.BoolVar(&o.allowUnsigned, "allow-unsigned", false, "take a bundle that nobody signed, or nobody known, where no signers are known at all")
	f.Var(&o.verifyTime, "verify-time", "judge keys as of this time, such as 20261122 or 202611221405Z (default: when the bundle says it was signed)")
}

// policy says what a bundle's signature must be like.
func (o *trustOptions) policy() (signature.Policy, error) {
	p := signature.Policy{
		Namespace: bundle.SignatureNamespace, AllowUnsigned: o.allowUnsigned, Principal: o.principal, VerifyTime: time.Time(o.verifyTime),
		AllowedSigners: signature.DefaultAllowedSigners(), Revoked: signature.DefaultRevoked(),
	}
	for _, other := range []struct{ flag, value string }{{"--allowed-signers", o.allowedSigners}, {"--principal", o.principal}} {
		if o.allowUnsigned && other.value != "" {
			return signature.Policy{}, manifest.Fail(manifest.KindUsage, "", "--allow-unsigned does not count with %s", other.flag).Advise("give one of the two")
		}
	}
	if o.allowedSigners != "" {
		p.AllowedSigners = []string{o.allowedSigners}
	}
	if o.revoked != "" {
		p.Revoked = append(p.Revoked, o.revoked)
	}
	return p, nil
}

// signOptions are the flags about signing a bundle.
type signOptions struct{ key string }

func (o *signOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.key, "sign", "", "sign with this SSH `key`: a private key file, a .pub file whose private half ssh-agent has, or a fingerprint SHA256:... of a key in ssh-agent")
}

// signer opens the key, asking for its passphrase where it needs one; nil when nothing is to be signed.
func (o *signOptions) signer(ctx context.Context) (*signature.Signer, error) {
	if o.key == "" {
		return nil, nil
	}
	var ask signature.Prompt
	if p := prompter(); p != nil {
		ask = p.Secret
	}
	return signature.OpenSigner(ctx, o.key, ask)
}
