package httpd

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"micromirror/packages/httpd/eventloop"
	"micromirror/packages/httpd/limit"
)

// handoff is a listener whose connections come from the event loops.
type handoff struct {
	addr    net.Addr
	refused func(*accounted, int)
	conns   chan net.Conn
	done    chan struct{}
	once    sync.Once
}

// newHandoff makes the listener; refused is told what net/http refuses by itself.
func newHandoff(addr net.Addr, refused func(*accounted, int)) *handoff {
	return &handoff{addr: addr, refused: refused, conns: make(chan net.Conn, 64), done: make(chan struct{})}
}

// give passes a connection on. It never waits: an event loop calls it.
func (h *handoff) give(conn net.Conn, client eventloop.Client) {
	c := &accounted{Conn: conn, client: client, refused: h.refused, fresh: true, waiting: true}
	select {
	case h.conns <- c:
	default:
		go h.later(c)
	}
}

type clientKey struct{}

// withClient makes the account known to the handler.
func withClient(ctx context.Context, c net.Conn) context.Context {
	if a, ok := c.(*accounted); ok {
		return context.WithValue(ctx, clientKey{}, a)
	}
	return ctx
}

// clientOf returns the account that a request came in on.
func clientOf(r *http.Request) *accounted {
	a, _ := r.Context().Value(clientKey{}).(*accounted)
	return a
}

// admit lets the event loops ask a table.
func admit(t *limit.Table) func(netip.Addr, time.Time) (eventloop.Client, int) {
	return func(peer netip.Addr, now time.Time) (eventloop.Client, int) {
		client, status := t.Admit(peer, now)
		if status != 0 {
			return nil, status
		}
		return client, 0
	}
}

func (h *handoff) later(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.done:
		c.Close()
	}
}

func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handoff) Addr() net.Addr { return h.addr }

func (h *handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}
