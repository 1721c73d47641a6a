package wire

import (
	"context"
	"net"
	"time"

	"golang.org/x/time/rate"
)

// Conn puts a deadline on every read and write of a connection and paces reads.
// Cancelling the context it was made with closes it at once.
type Conn struct {
	net.Conn
	ctx     context.Context
	timeout time.Duration
	limits  []*rate.Limiter
	stop    func() bool
}

// NewConn wraps c. A timeout of zero means none; nil limits are ignored.
func NewConn(ctx context.Context, c net.Conn, timeout time.Duration, limits ...*rate.Limiter) *Conn {
	conn := &Conn{Conn: c, ctx: ctx, timeout: timeout}
	for _, l := range limits {
		if l != nil {
			conn.limits = append(conn.limits, l)
		}
	}
	conn.stop = context.AfterFunc(ctx, func() { c.Close() })
	return conn
}

// Read reads within the timeout, then waits until the limits allow for it.
func (c *Conn) Read(p []byte) (int, error) {
	for _, l := range c.limits {
		p = p[:min(len(p), max(l.Burst(), 1))]
	}
	if c.timeout > 0 {
		if err := c.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
			return 0, c.why(err)
		}
	}
	n, err := c.Conn.Read(p)
	for _, l := range c.limits {
		if n > 0 && err == nil {
			err = l.WaitN(c.ctx, n)
		}
	}
	return n, c.why(err)
}

// Write writes within the timeout.
func (c *Conn) Write(p []byte) (int, error) {
	if err := c.beforeWrite(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	return n, c.why(err)
}

// WriteVector writes several slices, in one system call if the connection can.
func (c *Conn) WriteVector(b *net.Buffers) (int64, error) {
	if err := c.beforeWrite(); err != nil {
		return 0, err
	}
	n, err := b.WriteTo(c.Conn)
	return n, c.why(err)
}

func (c *Conn) beforeWrite() error {
	if c.timeout <= 0 {
		return nil
	}
	return c.why(c.SetWriteDeadline(time.Now().Add(c.timeout)))
}

// Close closes the connection; a second time does nothing.
func (c *Conn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// why puts the context's cause in place of the error that closing produced.
func (c *Conn) why(err error) error {
	if err != nil && c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return err
}
