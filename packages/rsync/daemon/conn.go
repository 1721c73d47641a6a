package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/rsync/sender"
	"micromirror/packages/rsync/wire"
)

// Sizes of a connection's buffers. Large file data does not pass through them.
const (
	readBuffer  = 16 << 10
	writeBuffer = 128 << 10
)

// ErrBusy ends a connection to a module that cannot be offered right now.
var ErrBusy = errors.New("module is being read")

// Errors that end a connection.
var (
	errStopping = errors.New("server is stopping")
	errSaid     = errors.New("refused") // the client has been told why
)

// conn is one connection.
type conn struct {
	*Server
	ctx     context.Context
	net     net.Conn
	addr    netip.Addr
	log     *slog.Logger
	r       *wire.Reader
	w       *wire.Writer
	stop    func()
	timeout time.Duration
	until   time.Time // end of the handshake, zero after it
	account *sender.Account
	pace    *paced

	protocol int
	module   *share

	raw     syscall.RawConn // nil if the connection is not a TCP socket
	flushed int64           // bytes sent before the last wait for the client
}

func newConn(ctx context.Context, s *Server, c net.Conn, addr netip.Addr) *conn {
	ctx, cancel := context.WithCancel(ctx)
	cn := &conn{
		Server: s, ctx: ctx, net: c, addr: addr, log: s.cfg.Log.With("client", addr.String()),
		timeout: s.cfg.Timeout, until: time.Now().Add(s.cfg.Handshake), account: s.memory.Account(),
	}
	unhook := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	cn.stop = func() { unhook(); cancel(); cn.account.Close() }
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			cn.raw = raw
		}
	}
	cn.pace = &paced{Conn: c, ctx: ctx, alive: cn.alive}
	cn.w = wire.NewWriter(cn.pace, writeBuffer)
	cn.r = wire.NewReader(patient{cn}, readBuffer)
	return cn
}

// patient reads for the wire.Reader: before it waits for the client it sends
// what is buffered, because the client may be waiting for that, and when it
// waits long it shows that the server is alive.
type patient struct{ c *conn }

func (p patient) Read(b []byte) (int, error) {
	c := p.c
	c.alive()
	if err := c.w.Flush(); err != nil {
		return 0, err
	}
	c.acknowledge()
	for end := c.deadline(); ; {
		pause := end
		if sign := time.Now().Add(c.timeout / 3); c.w.Multiplexed() && c.protocol >= 30 && sign.Before(end) {
			pause = sign
		}
		if err := c.net.SetReadDeadline(pause); err != nil {
			return 0, err
		}
		if c.ctx.Err() != nil {
			return 0, context.Cause(c.ctx)
		}
		n, err := c.net.Read(b)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(end) {
			return n, err
		}
		c.alive()
		if err := c.w.Keepalive(); err != nil {
			return 0, err
		}
	}
}

// acknowledge confirms at once what the client has sent, if no answer goes out
// that would do so. rsync sends its arguments and rules in small pieces, each of
// which the client's kernel holds back until the one before is confirmed; our
// kernel would take 40 ms for that.
func (c *conn) acknowledge() {
	sent := c.w.Total()
	if c.raw == nil || sent != c.flushed {
		c.flushed = sent
		return
	}
	// Failure costs the 40 ms only.
	c.raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
}

// alive moves the deadline for writing.
func (c *conn) alive() {
	if c.ctx.Err() == nil {
		c.net.SetWriteDeadline(c.deadline())
	}
}

func (c *conn) deadline() time.Time {
	d := time.Now().Add(c.timeout)
	if !c.until.IsZero() && c.until.Before(d) {
		return c.until
	}
	return d
}

// linger lets the client read what was sent last: data of its own that nobody
// has read would otherwise reset the connection.
func (c *conn) linger() {
	const patience = time.Second
	half, ok := c.net.(interface{ CloseWrite() error })
	if !ok || c.ctx.Err() != nil || half.CloseWrite() != nil {
		return
	}
	c.net.SetReadDeadline(time.Now().Add(patience))
	io.Copy(io.Discard, io.LimitReader(c.net, 1<<20))
}

// serve talks to the client from the greeting to the end.
func (c *conn) serve() {
	err := c.session()
	if err == nil {
		err = c.w.Flush()
	} else {
		c.alive()
		c.w.Flush()
	}
	if err != nil && !errors.Is(err, errSaid) {
		c.log.Info("connection ended", "err", err)
	}
}

func (c *conn) session() error {
	c.alive()
	name, err := c.hello()
	if err != nil || name == "" {
		return err
	}
	if c.module = c.share(name); c.module == nil {
		c.log.Info("unknown module", "module", clip(name))
		return c.errorLine("Unknown module '%s'", clip(name))
	}
	c.log = c.log.With("module", name)
	if err := c.admit(); err != nil {
		return err
	}
	ok, limit := c.slots.take(c.addr, c.cfg.MaxConns, c.cfg.MaxPerPrefix)
	if !ok {
		return c.full(limit)
	}
	defer c.slots.release(c.addr)
	if ok, limit := c.module.slots.take(c.addr, c.module.MaxConns, 0); !ok {
		return c.full(limit)
	}
	defer c.module.slots.release(c.addr)
	return c.transfer()
}

func (c *conn) admit() error {
	if c.cfg.Access.permits(c.addr) && c.module.Access.permits(c.addr) {
		return nil
	}
	c.log.Info("access denied")
	return c.errorLine("access denied to %s from UNDETERMINED (%s)", c.module.Name, c.addr)
}

func (c *conn) full(limit int) error {
	c.log.Info("too many connections", "limit", limit)
	return c.errorLine("max connections (%d) reached -- try again later", limit)
}

// offer gets the module's list, or tells the client why it cannot.
func (c *conn) offer() (*offer, error) {
	o, err := c.module.get(c.ctx, c.cfg.ScanWait)
	switch {
	case err == nil:
		return o, nil
	case errors.Is(err, ErrBusy):
		c.log.Info("list not ready")
		return nil, c.errorLine("module %s is being read -- try again later", c.module.Name)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EACCES):
		c.log.Warn("module not readable", "err", err)
		return nil, c.errorLine("chdir failed")
	}
	return nil, err
}
