package dial

import (
	"context"
	"errors"
	"strings"
	"sync"
)

// An asker asks a person and remembers the answers, so that a further connection asks nothing. Answers stay in memory.
type asker struct {
	prompt Prompter

	mu      sync.Mutex
	answers map[string]string
	sealed  bool // nothing is asked any more
}

var errNobodyToAsk = errors.New("there is nobody to ask")

func newAsker(p Prompter) *asker { return &asker{prompt: p, answers: map[string]string{}} }

// can reports whether a person can be asked.
func (a *asker) can() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.prompt != nil && !a.sealed
}

func (a *asker) seal() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sealed = true
}

// remembers reports whether some answer may serve again.
func (a *asker) remembers() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.answers) > 0
}

// An interview is the questions of one login. It counts how often each was asked: a remembered answer serves once,
// since the second time it was evidently refused.
type interview struct {
	*asker
	pause func(func()) // runs a function while the login's time stands still
	asked map[string]bool
}

func (a *asker) interview(pause func(func())) *interview {
	return &interview{asker: a, pause: pause, asked: map[string]bool{}}
}

// passphrase asks for what unlocks a key. It is not remembered: the unlocked key is.
func (i *interview) passphrase(ctx context.Context, prompt string) (answer string, err error) {
	if !i.can() {
		return "", errNobodyToAsk
	}
	i.pause(func() { answer, err = i.prompt.Secret(ctx, clean(prompt)) })
	return answer, err
}

// question returns the answer to a prompt, which is shown as it is typed when echo is set.
func (i *interview) question(ctx context.Context, prompt string, echo bool) (string, error) {
	prompt = clean(prompt)
	if answer, ok := i.recall(prompt); ok {
		return answer, nil
	}
	if !i.can() {
		return "", errNobodyToAsk
	}
	ask := i.prompt.Secret
	if echo {
		ask = i.prompt.Line
	}
	var answer string
	var err error
	i.pause(func() { answer, err = ask(ctx, prompt) })
	if err == nil {
		i.mu.Lock()
		i.answers[prompt] = answer
		i.mu.Unlock()
	}
	return answer, err
}

func (i *interview) recall(prompt string) (string, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	answer, ok := i.answers[prompt]
	if i.asked[prompt] {
		return "", false
	}
	i.asked[prompt] = true
	return answer, ok
}

// confirm asks whether to trust a host key: yes, no, or its fingerprint typed in.
func (i *interview) confirm(ctx context.Context, what, fingerprint string) (ok bool, err error) {
	i.pause(func() {
		for range 3 {
			var answer string
			answer, err = i.prompt.Line(ctx, clean(what)+" Go on connecting (yes/no/[fingerprint])? ")
			switch answer = strings.TrimSpace(answer); {
			case err != nil, strings.EqualFold(answer, "no"):
				return
			case strings.EqualFold(answer, "yes"), answer == fingerprint:
				ok = true
				return
			}
		}
	})
	return ok, err
}

// clean makes text from elsewhere fit for one line of a terminal: no control characters, bounded length.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == 0xfffd || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
			return -1
		}
		return r
	}, s)
	if len(s) > 1000 {
		s = strings.ToValidUTF8(s[:1000], "") + "…"
	}
	return s
}
