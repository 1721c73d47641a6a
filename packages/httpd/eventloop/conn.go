package eventloop

import (
	"bytes"
	"net/netip"
	"slices"
	"time"

	"micromirror/packages/httpd/accesslog"
	"micromirror/packages/httpd/answer"
	"micromirror/packages/httpd/cache"
)

// connID names a connection in events. The generation tells a connection from an
// earlier one in the same slot.
type connID struct{ slot, gen int32 }

// conn is a client's connection. Idle, it holds no buffers.
type conn struct {
	fd       int
	id       connID
	peer     netip.Addr
	client   Client
	deadline int64  // Unix seconds
	in       []byte // bytes of requests not answered yet
	out      *output
	tls      *secure // nil on a plain connection
	waits    uint32  // the events that the poller waits for
	helped   bool    // a helper works for it; the loop leaves it alone
	question *asked
	last     bool // close after the response
	answered bool // at least once
}

// idle reports whether every request on the connection is answered.
func (c *conn) idle() bool { return c.answered && c.out == nil && c.in == nil && !c.helped }

// output is a response on its way: head first, then the body's segments.
type output struct {
	head    []byte // what is left of the head; a small body follows in it
	headers int64  // how much of head is not body
	body    []answer.Segment
	off     int64 // how much of body[0] is sent
	item    *cache.Item
	sent    int64 // bytes of the body
	record  accesslog.Record
}

// asked is what remains of a request while a helper finds the answer.
type asked struct {
	head, http10 bool
	record       accesslog.Record
}

// park makes an output that lives on: what it borrowed from the loop's buffers
// becomes its own.
func (o *output) park() *output {
	p := *o
	p.head = bytes.Clone(o.head)
	p.body = slices.Clone(o.body)
	p.record = own(p.record)
	return &p
}

// own makes a record independent of the loop's buffer.
func own(r accesslog.Record) accesslog.Record {
	r.Line, r.Referer, r.UserAgent = bytes.Clone(r.Line), bytes.Clone(r.Referer), bytes.Clone(r.UserAgent)
	return r
}

// deadlineIn returns the deadline that lies d ahead.
func (l *loop) deadlineIn(d time.Duration) int64 { return l.now.Unix() + int64(d/time.Second) + 1 }
