package transfer

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"

	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/dial"
	"github.com/clara-push/clara-push/pkg/transfer/wire"
)

// starter knows how to get an agent running on a host, and once it did, with which command.
type starter struct {
	options SSHOptions
	bin     *binaries
	works   string // the command that worked; empty before
}

func newStarter(o SSHOptions) starter { return starter{options: o, bin: &binaries{path: o.Agent}} }

// plainPath is what a folder given on the command line may consist of: it becomes part of a shell script.
var plainPath = regexp.MustCompile(`^[A-Za-z0-9._/+@:-]+$`)

// agent starts an agent, and brings the program to the host when it is not there.
func (s *starter) agent(ctx context.Context, conn *dial.Conn, l *limiter, wrote *atomic.Int64) (*channel, error) {
	command, err := s.command()
	if err != nil {
		return nil, err
	}
	c, err := openChannel(ctx, conn.Client(), command, l, wrote)
	var failed *startFailure
	if errors.As(err, &failed) {
		kernel, machine, home, missing := parseMissing(failed.printed)
		if !missing {
			return nil, s.explain(failed)
		}
		s.options.Events.Say(manifest.StepAgent, "", "the host has no fitting clara-push; sending one")
		if err := s.bin.provision(ctx, conn, s.folder(home), kernel, machine); err != nil {
			return nil, err
		}
		c, err = openChannel(ctx, conn.Client(), command, l, wrote)
		if errors.As(err, &failed) {
			return nil, s.explain(failed)
		}
	}
	var own *manifest.Failure
	if errors.As(err, &own) {
		return nil, err
	}
	if err != nil {
		return nil, manifest.Fail(manifest.KindConnect, "agent", "start the agent: %w", err)
	}
	s.works = command
	return c, nil
}

// data starts a further agent process that joins the session.
func (s *starter) data(ctx context.Context, conn *dial.Conn, l *limiter, wrote *atomic.Int64, h wire.Hello) (*channel, error) {
	c, err := openChannel(ctx, conn.Client(), s.works, l, wrote)
	if err != nil {
		return nil, manifest.Fail(manifest.KindConnect, "agent", "start a data channel: %w", err)
	}
	return c, c.send(wire.Message{Type: wire.TJoin, Hello: &h}, nil)
}

const missingMark = "clara-push-missing"

// script runs on the host in any Bourne shell. Login shells of other families pass it on untouched, because it stands in
// single quotes and has none inside. The words in %…% are filled in.
const script = `d=%dir%; case $(uname -m) in %cases% *) h=none;; esac; p=$d/$h/clara-push; ` +
	`%path% if [ -x "$p" ]; then exec %sudo%"$p" agent; fi; ` +
	`echo "` + missingMark + ` $(uname -s) $(uname -m) $HOME"; exit 127`

const inPath = `if command -v clara-push >/dev/null 2>&1 && [ "$(clara-push agent --speaks %protocol% </dev/null 2>/dev/null)" = "clara-push-agent %protocol%" ]; ` +
	`then exec %sudo%clara-push agent; fi;`

// command is what starts an agent that is on the host already.
func (s *starter) command() (string, error) {
	if s.works != "" {
		return s.works, nil
	}
	dir := `"$HOME"/.cache/clara-push`
	if s.options.AgentDir != "" {
		if !plainPath.MatchString(s.options.AgentDir) {
			return "", manifest.Fail(manifest.KindUsage, "agent", "the agent folder %q has characters that are not allowed", s.options.AgentDir).
				Advise("use letters, digits and . _ / + @ : -")
		}
		dir = s.options.AgentDir
	}
	cases, err := s.bin.cases()
	if err != nil {
		return "", err
	}
	path, sudo := inPath, ""
	if s.options.Agent != "" {
		path = ""
	}
	if s.options.Sudo {
		sudo = "sudo -n "
	}
	text := strings.NewReplacer("%dir%", dir, "%cases%", cases, "%path%", path).Replace(script)
	text = strings.NewReplacer("%sudo%", sudo, "%protocol%", fmt.Sprint(wire.Protocol)).Replace(text)
	return "sh -c '" + text + "'", nil
}

func (s *starter) folder(home string) string {
	if s.options.AgentDir != "" {
		return s.options.AgentDir
	}
	return home + "/.cache/clara-push"
}

// parseMissing reads the line with which script says that there is no agent.
func parseMissing(printed string) (kernel, machine, home string, ok bool) {
	for line := range strings.Lines(printed) {
		words := strings.SplitN(strings.TrimSpace(line), " ", 4)
		if len(words) == 4 && words[0] == missingMark {
			return words[1], words[2], words[3], true
		}
	}
	return "", "", "", false
}

// explain says what it means that the host answered with something else than an agent.
func (s *starter) explain(f *startFailure) error {
	text := f.Error()
	fail := manifest.Fail(manifest.KindPermission, "agent", "the agent did not start: %s", text)
	_, _, home, missing := parseMissing(f.printed)
	switch {
	case strings.Contains(text, "sudo: not found") || strings.Contains(text, "sudo: command not found"):
		return fail.Advise("the host has no sudo: push without --sudo, as a user who may use the engine or write to the repository")
	case strings.Contains(text, "sudo:"):
		return fail.Advise("install the clara-push package on the host and allow it without a password, in /etc/sudoers.d/clara-push: USER ALL=(root) NOPASSWD: /usr/bin/clara-push agent")
	case strings.Contains(text, "Exec format error") || strings.Contains(text, "cannot execute binary"):
		return fail.Advise("the program is damaged or for another platform: remove its folder on the host, or build one for the host and name it with --agent PATH")
	case missing: // although it was just brought
		return manifest.Fail(manifest.KindPermission, "agent", "the agent did not start: the program in %s on the host cannot be executed", manifest.Plain(s.folder(home))).
			Advise("the folder may be mounted noexec; name another with --agent-dir, or install clara-push on the host")
	case f.status == 126 || strings.Contains(text, "Permission denied"):
		return fail.Advise("the folder may be mounted noexec; name another with --agent-dir, or install clara-push on the host")
	case strings.Contains(text, "sftp") || strings.Contains(text, "This service allows"):
		return fail.Advise("this account may use sftp only; clara-push needs one that may run commands")
	case strings.TrimSpace(f.printed+f.stderr) == "":
		return manifest.Fail(manifest.KindPermission, "agent", "the agent did not start: the host ran nothing and said nothing (exit status %d)", f.status).
			Advise("this account may not be allowed to run commands; look at its login shell on the host")
	}
	return fail.Advise("log in with ssh and run: clara-push agent --speaks %d", wire.Protocol)
}
