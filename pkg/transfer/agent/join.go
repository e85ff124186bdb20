//go:build linux

package agent

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/clara-push/clara-push/pkg/loader"
	"github.com/clara-push/clara-push/pkg/manifest"
	"github.com/clara-push/clara-push/pkg/transfer/wire"
)

// A data channel starts an agent process of its own on the host. That process hands its standard input and output over to
// the agent of the control channel, through a socket in the state folder, and waits until they are no longer needed: so
// one process has all chunks, and no byte is copied on the way.

// listen lets data channels join this session until close.
func (s *session) listen(host *loader.Host) error {
	dir, err := openRun(host.Dir())
	if err != nil {
		return err
	}
	defer dir.Close()
	sweepSockets(dir)
	l, err := listenAt(dir, s.hello.Session)
	if err != nil {
		return manifest.Fail(manifest.KindPermission, "agent", "listen for data channels: %w", err)
	}
	path := filepath.Join(runDir(host.Dir()), s.hello.Session)
	ours, _ := os.Lstat(path)
	s.hangUp = func() {
		l.Close()
		// A later agent of this session may have put its own in the place.
		if now, err := os.Lstat(path); err == nil && os.SameFile(ours, now) {
			os.Remove(path)
		}
	}
	go s.accept(l)
	return nil
}

// fresh ends the name of a socket on which nobody listens yet.
const fresh = ".new"

// listenAt makes the session's socket, in the place of one that a lost connection of this session may have left. It
// appears under its name when it is listened on, so that one which nobody answers is dead.
func listenAt(dir *os.File, session string) (*net.UnixListener, error) {
	path := inFolder(dir, session)
	_ = os.Remove(path + fresh)
	l, err := net.Listen("unix", path+fresh)
	if err != nil {
		return nil, err
	}
	u := l.(*net.UnixListener)
	u.SetUnlinkOnClose(false)
	if err := os.Rename(path+fresh, path); err != nil {
		l.Close()
		return nil, err
	}
	return u, nil
}

func (s *session) accept(l *net.UnixListener) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return
		}
		go s.serveData(c)
	}
}

// youth is how old a fresh socket must be to count as abandoned.
const youth = time.Minute

// sweepSockets removes the sockets of agents that were killed.
func sweepSockets(dir *os.File) {
	entries, _ := dir.ReadDir(-1)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || strings.HasSuffix(e.Name(), fresh) && time.Since(info.ModTime()) < youth {
			continue
		}
		path := inFolder(dir, e.Name())
		c, err := net.Dial("unix", path)
		switch {
		case err == nil:
			c.Close()
		case errors.Is(err, syscall.ECONNREFUSED):
			os.Remove(path)
		}
	}
}

func runDir(state string) string { return filepath.Join(state, "run") }

// openRun opens the folder of the sockets, which is this user's alone.
func openRun(state string) (*os.File, error) {
	if err := os.MkdirAll(runDir(state), 0o700); err != nil {
		return nil, manifest.Fail(manifest.KindPermission, "agent", "%w", err)
	}
	dir, err := os.Open(runDir(state))
	if err != nil {
		return nil, manifest.Fail(manifest.KindPermission, "agent", "%w", err)
	}
	return dir, nil
}

// inFolder names a socket through a handle of its folder, for a socket's own path must be short.
func inFolder(dir *os.File, name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)
}

// serveData keeps the chunks that come by one data channel.
func (s *session) serveData(c *net.UnixConn) {
	defer c.Close()
	in, out, err := receiveFiles(c)
	if err != nil {
		return
	}
	defer in.Close()
	defer out.Close()
	w := wire.NewWriter(out)
	buf := make([]byte, 0, wire.MaxBody)
	for {
		m, body, err := wire.Read(lively{in, s.touch}, buf)
		if err != nil {
			return
		}
		if m.Type != wire.TPut || m.Put == nil {
			return
		}
		if buf, err = s.put(w, m, body); err != nil {
			if _, err := w.Send(wire.Message{Type: wire.TFailure, ID: m.ID, Failure: wire.Pack(err)}, nil); err != nil {
				return
			}
		}
	}
}

// join is the other end of serveData: it lends its standard input and output to the session's agent.
func join(in, out *os.File, hello *wire.Hello) error {
	if !sessionName.MatchString(hello.Session) {
		return manifest.Fail(manifest.KindUsage, "agent", "the client gave no valid session")
	}
	state, err := loader.StateDir(hello.StateDir)
	if err != nil {
		return err
	}
	dir, err := openRun(state)
	if err != nil {
		return err
	}
	defer dir.Close()
	c, err := net.Dial("unix", inFolder(dir, hello.Session))
	if err != nil {
		return manifest.Fail(manifest.KindConnect, "agent", "the session has ended: %w", err)
	}
	defer c.Close()
	u := c.(*net.UnixConn)
	rights := syscall.UnixRights(int(in.Fd()), int(out.Fd()))
	if _, _, err := u.WriteMsgUnix([]byte{1}, rights, nil); err != nil {
		return manifest.Fail(manifest.KindInternal, "agent", "hand the channel over: %w", err)
	}
	_, err = u.Read(make([]byte, 1)) // until the session's agent closes it
	return ended(err)
}

func receiveFiles(c *net.UnixConn) (in, out *os.File, err error) {
	rights := make([]byte, syscall.CmsgSpace(2*4))
	_, n, _, _, err := c.ReadMsgUnix(make([]byte, 1), rights)
	if err != nil {
		return nil, nil, err
	}
	messages, err := syscall.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return nil, nil, errors.Join(io.ErrUnexpectedEOF, err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 2 {
		return nil, nil, errors.Join(io.ErrUnexpectedEOF, err)
	}
	return os.NewFile(uintptr(fds[0]), "data in"), os.NewFile(uintptr(fds[1]), "data out"), nil
}
