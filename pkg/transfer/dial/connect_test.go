package dial

import (
	"testing"
)

func TestSmoke(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := startSSHD(t, "ed25519 ecdsa rsa")
	config, _ := s.setup(t, "", known(s.bracketed(), s.host["ed25519"]))
	c, err := logIn(t, "box", Options{ConfigFile: config})
	must(t, err)
	t.Log(c.RTT(), c.TCP().RemoteAddr(), c.Host())
	withoutSSH(t)
	_, err = logIn(t, "box", Options{ConfigFile: config, Warn: func(s string) { t.Log(s) }})
	must(t, err)
}
