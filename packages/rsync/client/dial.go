package client

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"micromirror/packages/rsync/checksum"
	"micromirror/packages/rsync/flist"
	"micromirror/packages/rsync/wire"
)

// Bounds of what a server may say before the list.
const (
	maxLine = 16 << 10
	maxMOTD = 64 << 10
)

// bufferSize is that of the stream in each direction.
const bufferSize = 256 << 10

// authNames are the digests for logging in, strongest first.
const authNames = "sha512 sha256 sha1 md5 md4"

// Conn is a connection to a module. Its methods are to be called one after the
// other, List once and then Transfer at most once; only Close may be called at
// any time.
type Conn struct {
	MOTD     string // what the server said before it let us in
	Protocol int    // agreed on

	cfg    Config
	log    *slog.Logger
	conn   *wire.Conn
	cancel context.CancelCauseFunc // ends the connection
	cause  func() error            // why it has ended
	in     *wire.Reader

	outMu sync.Mutex // held while whole records are written
	out   *wire.Writer

	sums     checksum.Sums
	list     *flist.List
	messages messages
	alive    context.CancelFunc // ends the keep-alives between List and Transfer
	interval atomic.Int64       // nanoseconds between keep-alives
}

// Dial connects to a module and logs in. The context governs the connection
// for as long as it lives: cancelling it closes the connection.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	c, err := connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := c.enter(); err != nil {
		c.Close()
		return nil, fmt.Errorf("log in to %s::%s: %w", c.cfg.Addr, cfg.Module, err)
	}
	return c, nil
}

// connect connects and exchanges greetings.
func connect(ctx context.Context, cfg Config) (*Conn, error) {
	cfg = cfg.withDefaults()
	dial, stop := context.WithTimeout(ctx, cfg.Timeout)
	defer stop()
	nc, err := cfg.Dialer(dial, "tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Addr, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	c := &Conn{cfg: cfg, log: cfg.Log, cancel: cancel, cause: func() error { return context.Cause(ctx) }}
	c.conn = wire.NewConn(ctx, nc, cfg.Timeout, cfg.limiter(), cfg.Limiter)
	c.in = wire.NewReader(c.conn, bufferSize)
	c.out = wire.NewWriter(c.conn, bufferSize)
	c.in.Message = c.message
	c.in.Patience = 6 * cfg.Timeout
	c.alive = func() {}
	c.interval.Store(int64(cfg.Timeout / 3))
	return c, nil
}

// Close closes the connection.
func (c *Conn) Close() error {
	c.alive()
	c.cancel(context.Canceled)
	return c.conn.Close()
}

// enter names the module and reads until the server lets us in.
func (c *Conn) enter() error {
	digests, err := c.greet(c.cfg.Module)
	if err != nil {
		return err
	}
	var motd strings.Builder
	for {
		line := c.in.Line(maxLine)
		if err := c.in.Err(); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		challenge, auth := strings.CutPrefix(line, "@RSYNCD: AUTHREQD ")
		switch {
		case line == "@RSYNCD: OK":
			c.MOTD = motd.String()
			return nil
		case line == "@RSYNCD: EXIT":
			return fmt.Errorf("server closed the session: %w", ErrRefused)
		case strings.HasPrefix(line, "@ERROR"):
			return fmt.Errorf("%s: %w", printable(line), ErrRefused)
		case auth:
			if err := c.login(challenge, digests); err != nil {
				return err
			}
		case motd.Len()+len(line) < maxMOTD:
			motd.WriteString(line)
			motd.WriteByte('\n')
		default:
			return fmt.Errorf("motd of more than %d bytes: %w", maxMOTD, ErrProtocol)
		}
	}
}

// greet exchanges greetings and asks for a module. It gives the digests that
// the server knows, if it named any.
func (c *Conn) greet(module string) (digests string, err error) {
	if strings.ContainsAny(module, "\n\r\x00/") {
		return "", fmt.Errorf("module name %q: %w", module, ErrProtocol)
	}
	c.out.String(fmt.Sprintf("@RSYNCD: %d.0 %s\n", c.cfg.Protocol, authNames))
	c.out.Flush()
	line := c.in.Line(maxLine)
	if err := c.in.Err(); err != nil {
		return "", fmt.Errorf("read greeting: %w", err)
	}
	remote, digests, err := parseGreeting(line)
	if err != nil {
		return "", err
	}
	c.Protocol = min(c.cfg.Protocol, remote)
	if c.Protocol < wire.MinProtocol {
		return "", fmt.Errorf("server speaks protocol %d, at least %d is needed: %w", remote, wire.MinProtocol, ErrProtocol)
	}
	c.in.SetProtocol(c.Protocol)
	c.out.SetProtocol(c.Protocol)
	c.out.String(module + "\n")
	return digests, c.out.Flush()
}

// parseGreeting gives the newest protocol that the server speaks in full: a
// version with a number after the point is a draft of it.
func parseGreeting(line string) (protocol int, digests string, err error) {
	rest, ok := strings.CutPrefix(line, "@RSYNCD: ")
	if !ok {
		if strings.HasPrefix(line, "@ERROR") {
			return 0, "", fmt.Errorf("%s: %w", printable(line), ErrRefused)
		}
		return 0, "", fmt.Errorf("greeting %q: %w", printable(line), ErrProtocol)
	}
	version, digests, _ := strings.Cut(rest, " ")
	major, sub, _ := strings.Cut(version, ".")
	protocol, err = strconv.Atoi(major)
	if err != nil || protocol < 0 || protocol > 100 {
		return 0, "", fmt.Errorf("greeting %q: %w", printable(line), ErrProtocol)
	}
	if n, err := strconv.Atoi(sub); err == nil && n != 0 {
		protocol--
	}
	return protocol, digests, nil
}

// printable shortens a text from the peer and makes it fit for a log.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return ' '
		}
		return r
	}, s[:min(len(s), 1000)])
	return strings.TrimSpace(strings.ToValidUTF8(s, "?"))
}
