package dial

import (
	"context"
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// askTimeout is how long ssh may think about its configuration: a Match exec may ask the network.
const askTimeout = 20 * time.Second

// lookUp asks the ssh on this machine, which knows its configuration best, or reads the files ourselves without one.
func lookUp(ctx context.Context, asked Host, o Options, warn func(string)) (values, error) {
	if err := checkOptions(o); err != nil {
		return nil, err
	}
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		return parseConfig(asked, o, warn)
	}
	v, err := askSSH(ctx, ssh, append(flags(asked, o), "--", asked.Name))
	if errors.Is(err, errCannotAsk) {
		warn("the ssh on this machine cannot tell its configuration (" + err.Error() + "): read without it")
		return parseConfig(asked, o, warn)
	}
	return v, err
}

// flags are the options for ssh, each a word of its own.
func flags(asked Host, o Options) []string {
	args := []string{"-G"}
	if o.ConfigFile != "" {
		args = append(args, "-F", o.ConfigFile)
	}
	if asked.User != "" {
		args = append(args, "-l", asked.User)
	}
	if port := portOf(asked, o); port != 0 {
		args = append(args, "-p", strconv.Itoa(port))
	}
	if o.Jump != "" {
		args = append(args, "-J", o.Jump)
	}
	for _, id := range o.Identities {
		args = append(args, "-i", id)
	}
	for _, opt := range o.SSHOptions {
		args = append(args, "-o", opt)
	}
	return args
}

func portOf(asked Host, o Options) int {
	if asked.Port != 0 {
		return asked.Port
	}
	return o.Port
}

func checkOptions(o Options) error {
	for _, opt := range o.SSHOptions {
		key, _, ok := strings.Cut(opt, "=")
		if !ok || strings.TrimSpace(key) == "" || checkLetters(strings.TrimSpace(key), "") != "" || opt != clean(opt) {
			return manifest.Fail(manifest.KindUsage, "read options", "%q is not an option of ssh: it is written Key=Value", opt)
		}
	}
	if o.Port < 0 || o.Port > 65535 {
		return manifest.Fail(manifest.KindUsage, "read options", "port %d does not exist", o.Port)
	}
	return nil
}

var errCannotAsk = errors.New("no answer to ssh -G")

// askSSH runs ssh -G. What ssh itself refuses, such as a broken ssh_config, is a failure here as well.
func askSSH(ctx context.Context, ssh string, args []string) (values, error) {
	limited, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var out, talk limitedBuffer
	cmd := exec.CommandContext(limited, ssh, args...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &talk, time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return parseAnswer(out.String()), nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case limited.Err() != nil:
		return nil, manifest.Fail(manifest.KindConnect, "read ssh_config", "ssh -G gave no answer in %v", askTimeout).
			Advise("see whether a \"Match exec\" in ssh_config hangs")
	case errors.As(err, &exit) && !strings.Contains(talk.String(), "option -- G"):
		return nil, manifest.Fail(manifest.KindUsage, "read ssh_config", "ssh refuses: %s", said(talk.String(), exit)).
			Advise("ssh would not connect either: correct ssh_config or the options")
	}
	return nil, errCannotAsk
}

func said(text string, exit *exec.ExitError) string {
	if text = clean(strings.TrimSpace(text)); text != "" {
		return text
	}
	return exit.Error()
}

func parseAnswer(text string) values {
	v := values{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		if ok {
			key = strings.ToLower(key)
			v[key] = append(v[key], value)
		}
	}
	return v
}

// A limitedBuffer keeps the first 256 KiB and drops the rest.
type limitedBuffer struct{ kept []byte }

// Write never fails.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	if room := 256<<10 - len(b.kept); room > 0 {
		b.kept = append(b.kept, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

func (b *limitedBuffer) String() string { return string(b.kept) }
