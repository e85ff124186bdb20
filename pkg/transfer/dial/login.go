package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/clara-push/clara-push/pkg/sshkey"
)

// A login is one attempt to log in at one hop: the answers to what x/crypto asks on the way, and what to tell when it
// fails.
type login struct {
	hop *hop
	ask *interview

	mu       sync.Mutex
	accepted ssh.PublicKey // the host key that was accepted
	isNew    bool          // it is to be recorded
	refused  error         // why a host key or an answer was refused
	began    bool          // authentication has begun
	allowed  []string      // methods that the server allows
	tried    []string      // methods that failed
	offered  []string      // keys that the server was asked about
	skipped  []string      // keys that could not be offered, and why
	broken   []string      // keys that the server would take and that did not sign
	rest     []ssh.Signer  // keys after one that did not sign
	signers  []ssh.Signer
	signed   *identity
}

// config makes the configuration for x/crypto. The order of kinds of host key is given.
func (l *login) config(ctx context.Context, agent *sshkey.Agent, hostKeys []string) *ssh.ClientConfig {
	s := &l.hop.settings
	return &ssh.ClientConfig{
		Config: s.transportAlgorithms(), User: s.user, HostKeyAlgorithms: hostKeys,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error { return l.hostKey(ctx, key) },
		Auth:            l.methods(ctx, agent),
		AuthCallback:    l.next,
	}
}

// hostKey is called in the first key exchange and in each later one, where the key must be the same.
func (l *login) hostKey(ctx context.Context, key ssh.PublicKey) error {
	l.mu.Lock()
	accepted := l.accepted
	l.mu.Unlock()
	if accepted != nil {
		if sshkey.Same(accepted, sshkey.Plain(key)) {
			return nil
		}
		return l.hop.doorman.refuse("the host showed another key, %s, in the middle of the connection", sshkey.Describe(sshkey.Plain(key)))
	}
	isNew, err := l.hop.doorman.decide(ctx, key, l.ask)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.refused = err
		return err
	}
	l.accepted, l.isNew = sshkey.Plain(key), isNew
	return nil
}

// methods are the ways to log in, in the order of PreferredAuthentications. What needs a person is left out when
// there is none and no answer is remembered.
func (l *login) methods(ctx context.Context, agent *sshkey.Agent) []ssh.AuthMethod {
	s := &l.hop.settings
	byName := map[string]ssh.AuthMethod{}
	if s.pubkey {
		byName["publickey"] = ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
			l.signers = l.identities(ctx, agent)
			return l.signers, nil
		})
	}
	if l.ask.can() || l.ask.remembers() {
		if s.interactive {
			byName["keyboard-interactive"] = ssh.RetryableAuthMethod(ssh.KeyboardInteractive(l.challenge(ctx)), 3)
		}
		if s.password {
			byName["password"] = ssh.RetryableAuthMethod(ssh.PasswordCallback(func() (string, error) {
				return l.answer(ctx, fmt.Sprintf("%s@%s's password: ", s.user, s.host), false)
			}), 3)
		}
	}
	order := s.preferred
	if len(order) == 0 {
		order = []string{"publickey", "keyboard-interactive", "password"}
	}
	var out []ssh.AuthMethod
	for _, name := range order {
		if m := byName[name]; m != nil {
			out = append(out, m)
		}
	}
	return out
}

// challenge answers keyboard-interactive questions. They are the server's words, so the prompt says whose they are.
func (l *login) challenge(ctx context.Context) ssh.KeyboardInteractiveChallenge {
	return func(_, instruction string, questions []string, echo []bool) ([]string, error) {
		if len(questions) > 16 {
			return nil, errors.New("too many questions")
		}
		answers := make([]string, len(questions))
		for i, q := range questions {
			prompt := fmt.Sprintf("(%s@%s) ", l.hop.settings.user, l.hop.settings.host)
			if i == 0 && strings.TrimSpace(instruction) != "" {
				prompt += strings.TrimSpace(instruction) + " "
			}
			var err error
			if answers[i], err = l.answer(ctx, prompt+q, echo[i]); err != nil {
				return nil, err
			}
		}
		return answers, nil
	}
}

func (l *login) answer(ctx context.Context, prompt string, echo bool) (string, error) {
	answer, err := l.ask.question(ctx, prompt, echo)
	if err != nil && !errors.Is(err, errNobodyToAsk) {
		l.mu.Lock()
		l.refused = fmt.Errorf("ask for an answer: %w", err)
		l.mu.Unlock()
	}
	return answer, err
}

// next is called by x/crypto before each method. Its only choice: when a key did not sign, go on with those after it,
// where x/crypto would give up public keys altogether.
func (l *login) next(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.began, l.allowed, l.tried = true, c.AllowedMethods, c.TriedMethods
	if l.refused != nil {
		return nil, l.refused
	}
	rest := l.rest
	l.rest = nil
	if len(rest) == 0 || !slices.Contains(c.AllowedMethods, "publickey") {
		return nil, nil
	}
	l.signers = rest
	return ssh.PublicKeys(rest...), nil
}

func (l *login) signFailed(i *identity, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = append(l.broken, clean(err.Error()))
	for n, s := range l.signers {
		if s == ssh.Signer(i) {
			l.rest = l.signers[n+1:]
		}
	}
}

func (l *login) offer(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.offered, name) {
		l.offered = append(l.offered, name)
	}
}

func (l *login) skip(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.skipped = append(l.skipped, why)
}

func containsAny(all []string, some ...string) bool {
	return slices.ContainsFunc(some, func(s string) bool { return slices.Contains(all, s) })
}
