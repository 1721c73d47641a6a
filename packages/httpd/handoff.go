package httpd

import (
	"net"
	"sync"
)

// handoff is a listener whose connections come from the event loops.
type handoff struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newHandoff(addr net.Addr) *handoff {
	return &handoff{addr: addr, conns: make(chan net.Conn, 64), done: make(chan struct{})}
}

// give passes a connection on. It never waits: an event loop calls it.
func (h *handoff) give(c net.Conn) {
	select {
	case h.conns <- c:
	default:
		go h.later(c)
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
