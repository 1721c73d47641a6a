package eventloop

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"micromirror/packages/tlsrecord"
)

// Door lets connections in that somebody else accepted and that have their TLS
// handshake behind them. It goes into Config.
type Door struct {
	mu    sync.RWMutex
	loops []*loop
	next  atomic.Uint32
}

// Arrival is such a connection.
type Arrival struct {
	FD      int // non-blocking; the loop closes it
	Peer    netip.Addr
	Client  Client // admitted
	Session *tlsrecord.Session
}

// Enter gives a connection to one of the loops. It reports false when none runs:
// then the connection stays with the caller.
func (d *Door) Enter(a Arrival) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if len(d.loops) == 0 {
		return false
	}
	l := d.loops[int(d.next.Add(1))%len(d.loops)]
	l.mu.Lock()
	l.arrivals = append(l.arrivals, a)
	l.mu.Unlock()
	l.wake.signal()
	return true
}

func (d *Door) open(loops []*loop) {
	if d != nil {
		d.mu.Lock()
		d.loops = loops
		d.mu.Unlock()
	}
}

// shut turns away whoever waits for a loop that has ended.
func (d *Door) shut(loops []*loop) {
	if d == nil {
		return
	}
	d.open(nil)
	for _, l := range loops {
		for _, a := range l.arrivals {
			rawClose(a.FD)
			a.Client.Done()
		}
	}
}

// enter takes an arrival in and answers what it has asked already.
func (l *loop) enter(a Arrival) {
	c := &conn{
		fd: a.FD, peer: a.Peer, client: a.Client, deadline: l.deadlineIn(l.config.Timeouts.Head),
		tls: &secure{session: a.Session, version: a.Session.VersionName()}, last: l.stopping,
	}
	l.place(c)
	c.waits = forRequest
	ev := unix.EpollEvent{Events: c.waits, Fd: c.id.slot, Pad: c.id.gen}
	if e := control(l.epoll, unix.EPOLL_CTL_ADD, c.fd, &ev); e != 0 {
		l.end(c)
		return
	}
	l.receive(c)
}
