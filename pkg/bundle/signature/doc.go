// Package signature says who made a bundle: it signs the bytes of a bundle's index.json with an SSH key, and decides, by files
// that the receiving site keeps, whether a signature is one to trust. Signatures are SSHSIG, made and checked by ssh-keygen -Y
// as well; the files are ssh-keygen's allowed_signers and lists of revoked keys.
//
// It is not for what index.json says and whether the blobs are what it says: that is package bundle. It opens no bundle, and
// takes nothing from one that would decide about trust. It asks no person but for the passphrase of a key.
//
// Where it is stricter than ssh-keygen -Y verify: a file with one line that cannot be read counts as a whole for nothing;
// certificates with critical options, made for logins, sign no bundles; RSA keys have at least 2048 bits; SHA-1 is nowhere
// accepted; a line cannot hold a certificate. Everywhere else the verdicts are the same, and tests hold that.
//
// Read Policy first, then Signer.
package signature
