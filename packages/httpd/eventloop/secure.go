package eventloop

import (
	"bytes"
	"syscall"

	"golang.org/x/sys/unix"

	"micromirror/packages/ktls"
	"micromirror/packages/tlsrecord"
)

// secure is what a connection under TLS has beside. Where the kernel seals what is
// sent, only reading differs from a plain connection.
type secure struct {
	session *tlsrecord.Session
	version string // as logs have it
	unsent  []byte // sealed, but the socket is full
}

const (
	// burst is how much is sealed for one call.
	burst = 8 * tlsrecord.MaxPlain
	// stageSize is room for a burst behind a head that waits for it.
	stageSize = 2*burst + inlineBody
	// crowded is how many sealed bytes a loop keeps for full sockets until it
	// seals only little at a time, smallBurst.
	crowded    = 16 << 20
	smallBurst = 4 << 10
)

// burst is how much to seal now.
func (l *loop) burst() int {
	if l.unsent > crowded {
		return smallBurst
	}
	return burst
}

// seals says that what is sent on the connection is sealed here.
func (c *conn) seals() bool { return c.tls != nil && c.tls.session.Out != nil }

// read reads plain bytes. EAGAIN means that there are none yet.
func (l *loop) read(c *conn, p []byte) (int, syscall.Errno) {
	if c.tls == nil {
		return rawRead(c.fd, p[:min(len(p), readSize)])
	}
	s := c.tls.session
	kept := copy(l.sealed, s.Rest)
	n, e := rawRead(c.fd, l.sealed[kept:])
	switch {
	case e == unix.EAGAIN && kept > 0:
		n = 0
	case e != 0 || n == 0:
		return 0, e
	}
	got, rest, err := openAll(&s.In, p, l.sealed[:kept+n])
	s.Rest = nil
	if err != nil {
		c.last = true // nothing more can be read
		return got, 0
	}
	if len(rest) > 0 {
		s.Rest = bytes.Clone(rest)
	}
	if got == 0 {
		return 0, unix.EAGAIN
	}
	return got, 0
}

// openAll opens the records in data and gathers their contents in p, which has
// room for them.
func openAll(o *tlsrecord.Opener, p, data []byte) (got int, rest []byte, err error) {
	for {
		plain, n, err := o.Next(data)
		if err != nil || n == 0 {
			return got, data, err
		}
		got += copy(p[got:], plain)
		data = data[n:]
	}
}

// write sends bytes, of which more follow at once if flags say so. Under TLS they
// may stay on the stage until send ends.
func (l *loop) write(c *conn, data []byte, flags int) (int, syscall.Errno) {
	if c.tls != nil {
		c.tls.session.Count(len(data))
	}
	if !c.seals() {
		return rawSend(c.fd, data, flags)
	}
	n := min(len(data), l.burst())
	if e := l.makeRoom(c, n); e != 0 {
		return 0, e
	}
	l.stage = c.tls.session.Out.Append(l.stage, tlsrecord.TypeApplication, data[:n])
	return n, 0
}

// sealFile puts a part of a file on the stage; it reads right into the records.
func (l *loop) sealFile(c *conn, file int, off int64, length int) (int, syscall.Errno) {
	length = min(length, l.burst())
	if e := l.makeRoom(c, length); e != 0 {
		return 0, e
	}
	out, first := c.tls.session.Out, len(l.stage)
	for left := length; left > 0; left -= tlsrecord.MaxPlain {
		size := min(left, tlsrecord.MaxPlain)
		at := len(l.stage)
		l.stage = l.stage[:at+out.Head+size+out.Tail]
		l.parts = append(l.parts, l.stage[at+out.Head:at+out.Head+size])
	}
	n, e := readParts(file, l.parts, off)
	if e != 0 || n != length { // the file is shorter than it was
		l.stage, l.parts = l.stage[:first], l.parts[:0]
		return 0, e
	}
	for _, part := range l.parts {
		size := out.Head + len(part) + out.Tail
		out.Wrap(l.stage[first:first+size], tlsrecord.TypeApplication)
		first += size
	}
	l.parts = l.parts[:0]
	return length, 0
}

// makeRoom sees to it that so many bytes can be sealed onto the stage: only when
// nothing older waits.
func (l *loop) makeRoom(c *conn, n int) syscall.Errno {
	const around = 64 // of a record
	if len(l.stage)+n+(n/tlsrecord.MaxPlain+1)*around > cap(l.stage) {
		if e := l.push(c); e != 0 {
			return e
		}
	}
	if len(c.tls.unsent) > 0 {
		return unix.EAGAIN
	}
	return 0
}

// push sends what is sealed. What the socket does not take waits with the
// connection; only that nobody is there is an error.
func (l *loop) push(c *conn) syscall.Errno {
	t := c.tls
	for len(t.unsent) > 0 {
		n, e := rawSend(c.fd, t.unsent, 0)
		if e != 0 {
			return e
		}
		l.unsent -= n
		if t.unsent = t.unsent[n:]; len(t.unsent) == 0 {
			t.unsent = nil
		}
	}
	staged := l.stage
	l.stage = l.stage[:0]
	for len(staged) > 0 {
		n, e := rawSend(c.fd, staged, 0)
		if e == unix.EAGAIN {
			t.unsent = bytes.Clone(staged)
			l.unsent += len(staged)
			return 0
		}
		if e != 0 && e != unix.EINTR {
			return e
		}
		staged = staged[max(n, 0):]
	}
	return 0
}

// deliver ends a round of sending under TLS: a response is complete once the
// socket has all of it.
func (l *loop) deliver(c *conn, p progress) progress {
	if p == broken {
		l.stage = l.stage[:0]
		return p
	}
	if e := l.push(c); e != 0 {
		l.stage = l.stage[:0]
		return max(p, sendError(e))
	}
	if p == complete && len(c.tls.unsent) > 0 {
		return blocked
	}
	return p
}

// farewell tells the client that nothing follows, if that can be said at once.
func (l *loop) farewell(c *conn) {
	switch {
	case c.tls == nil || c.fd < 0 || c.out != nil:
	case c.tls.session.Out == nil:
		_ = ktls.SendAlert(c.fd, tlsrecord.CloseNotify()) // the client may be gone
	case len(c.tls.unsent) == 0:
		rawSend(c.fd, c.tls.session.Out.Append(nil, tlsrecord.TypeAlert, tlsrecord.CloseNotify()), 0)
	}
}
