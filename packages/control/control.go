// Package control is how the management daemon asks another daemon of the node to
// do something: one line in, one line out, over a unix socket of the daemon that
// owns the matter, which alone decides what it does.
//
// Promise: a socket is open to its owner and to one group. A line is bounded, an
// answer is "ok" or the reason why not. Peers are few, local and brief: they are
// served one after the other, and one that dawdles is cut off.
//
// Files owned: the socket. Failure: Serve ends when it cannot accept; a peer that
// goes away costs itself only.
package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"
)

// Socket is the usual name in a daemon's folder below /run.
const Socket = "control"

const (
	maxLine  = 512
	patience = 5 * time.Second // for a peer to ask
	accepted = "ok"
)

// KeepGroup leaves the socket to the group that its folder gives it.
const KeepGroup = -1

// Listen makes the socket in place of one that was left behind, for the group
// with number gid.
func Listen(ctx context.Context, path string, gid int) (net.Listener, error) {
	fail := func(err error) (net.Listener, error) { return nil, fmt.Errorf("listen for requests: %w", err) }
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return fail(err)
	}
	if gid != KeepGroup {
		err = os.Chown(path, -1, gid)
	}
	if err = errors.Join(err, os.Chmod(path, 0o660)); err != nil {
		l.Close()
		return fail(err)
	}
	return l, nil
}

// Serve answers lines until ctx ends, and closes l.
func Serve(ctx context.Context, l net.Listener, do func(line string) error) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("listen for requests: %w", err)
		}
		answer(c, do)
	}
}

// answer serves one connection.
func answer(c net.Conn, do func(line string) error) {
	defer c.Close()
	if c.SetDeadline(time.Now().Add(patience)) != nil {
		return // it is gone
	}
	lines := bufio.NewScanner(c)
	lines.Buffer(make([]byte, 0, maxLine), maxLine)
	for lines.Scan() {
		reply := accepted
		if err := do(strings.TrimSpace(lines.Text())); err != nil {
			reply = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		if _, err := fmt.Fprintln(c, reply); err != nil {
			return
		}
	}
}

// Ask sends one line to the socket at path; the error is the daemon's reason, or
// why it could not be asked.
func Ask(ctx context.Context, path, line string) error {
	if len(line) >= maxLine || strings.ContainsAny(line, "\r\n") {
		return errors.New("request is no short line")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if _, err := fmt.Fprintln(c, line); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	reply, err := bufio.NewReader(io.LimitReader(c, 4096)).ReadString('\n')
	if err != nil {
		return fmt.Errorf("ask: no answer: %w", err)
	}
	if reply = strings.TrimSpace(reply); reply != accepted {
		return errors.New(reply)
	}
	return nil
}
