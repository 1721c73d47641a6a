package tlsrecord

import (
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"micromirror/packages/ktls"
)

// Conn is a session with its socket, as net/http wants it. At most one goroutine
// reads and one writes.
type Conn struct {
	net.Conn
	session *Session
	read    []byte // opened, not read yet
	in      []byte // not opened yet, at the end of buf
	buf     []byte
	out     []byte
	ended   error
}

// NewConn puts a session on its socket; read is what has been opened already.
func NewConn(conn net.Conn, s *Session, read []byte) *Conn {
	return &Conn{Conn: conn, session: s, read: read, in: s.Rest}
}

func (c *Conn) Read(p []byte) (int, error) {
	for len(c.read) == 0 {
		if c.ended != nil {
			return 0, c.ended
		}
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.read)
	c.read = c.read[n:]
	return n, nil
}

// next opens a record or reads more of it.
func (c *Conn) next() error {
	plain, n, err := c.session.In.Next(c.in)
	if err != nil {
		if c.ended = err; errors.Is(err, ErrClosed) {
			c.ended = io.EOF
		}
		return c.ended
	}
	if n > 0 {
		c.read, c.in = plain, c.in[n:]
		return nil
	}
	if c.buf == nil {
		c.buf = make([]byte, MaxRecord)
	}
	kept := copy(c.buf, c.in)
	n, err = c.Conn.Read(c.buf[kept:])
	c.in = c.buf[:kept+n]
	if n > 0 {
		return nil
	}
	return err
}

func (c *Conn) Write(p []byte) (int, error) {
	c.session.Count(len(p))
	if c.session.Out == nil {
		return c.Conn.Write(p)
	}
	for sent := 0; ; {
		n := min(len(p)-sent, 4*MaxPlain)
		c.out = c.session.Out.Append(c.out[:0], TypeApplication, p[sent:sent+n])
		if _, err := c.Conn.Write(c.out); err != nil {
			return sent, err
		}
		if sent += n; sent == len(p) {
			return sent, nil
		}
	}
}

// closeTime is how long the last alert may take.
const closeTime = time.Second

// CloseWrite sends the alert that ends the connection, as far as the socket takes
// it, and ends the sending side.
func (c *Conn) CloseWrite() error {
	if err := c.sendClose(); err != nil {
		return err
	}
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (c *Conn) sendClose() error {
	if c.session.Out == nil {
		return c.kernelClose()
	}
	alert := c.session.Out.Append(nil, TypeAlert, CloseNotify())
	if err := c.Conn.SetWriteDeadline(time.Now().Add(closeTime)); err != nil {
		return err
	}
	_, err := c.Conn.Write(alert)
	return err
}

// kernelClose lets the kernel make the alert.
func (c *Conn) kernelClose() error {
	s, ok := c.Conn.(syscall.Conn)
	if !ok {
		return errors.New("connection without a descriptor")
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	if err := raw.Control(func(fd uintptr) { sendErr = ktls.SendAlert(int(fd), CloseNotify()) }); err != nil {
		return err
	}
	return sendErr
}
