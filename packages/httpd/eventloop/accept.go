package eventloop

import (
	"net/http"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// accept takes one connection; the poller reports again if there are more, to
// whichever loop has time.
func (l *loop) accept() {
	var sa unix.RawSockaddrAny
	fd, e := rawAccept(l.listener, &sa)
	switch e {
	case 0:
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
		l.turnAway()
		return
	default:
		return // taken by another loop, or gone
	}
	peer := addrOf(&sa)
	client, status := l.config.Admit(peer, l.now)
	if status != 0 {
		l.refuse(fd, peer, status)
		return
	}
	c := &conn{fd: fd, peer: peer, client: client, deadline: l.deadlineIn(l.config.Timeouts.Head)}
	l.place(c)
	c.waits = forRequest
	ev := unix.EpollEvent{Events: c.waits, Fd: c.id.slot, Pad: c.id.gen}
	if e := control(l.epoll, unix.EPOLL_CTL_ADD, fd, &ev); e != 0 {
		l.refuse(fd, peer, http.StatusServiceUnavailable)
		c.fd = -1
		l.end(c)
	}
}

// In a crowd, the kernel holds less for each connection: clients that take next to
// nothing would fill what it has for all connections together, and the others would
// have to wait. Up to unrationed connections a loop, its own bounds do; more share
// the budget.
const (
	unrationed = 256
	budget     = 256 << 20
	leastShare = 32 << 10
)

// ration bounds what the kernel holds unsent. Should it not want to, its own bound
// remains.
func (l *loop) ration(fd int) {
	if l.open > unrationed {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, max(leastShare, budget/l.open))
	}
}

// place gives a connection a slot.
func (l *loop) place(c *conn) {
	l.gen++
	l.open++
	l.ration(c.fd)
	if n := len(l.free); n > 0 {
		c.id = connID{l.free[n-1], l.gen}
		l.free = l.free[:n-1]
		l.conns[c.id.slot] = c
		return
	}
	c.id = connID{int32(len(l.conns)), l.gen}
	l.conns = append(l.conns, c)
}

// remove takes a connection out of the loop without closing its socket.
func (l *loop) remove(c *conn) {
	if c.out != nil {
		l.finish(c, c.out)
		c.out = nil
	}
	if c.tls != nil {
		l.unsent -= len(c.tls.unsent)
	}
	if c.client != nil {
		c.client.Done()
	}
	l.conns[c.id.slot] = nil
	l.free = append(l.free, c.id.slot)
	l.open--
}

// end closes a connection.
func (l *loop) end(c *conn) {
	l.farewell(c)
	l.remove(c)
	if c.fd >= 0 {
		rawClose(c.fd)
	}
}

// refuse answers in one packet, without having read the request. What the client
// has sent is read off first: closing on top of it would make the kernel take
// the answer back.
func (l *loop) refuse(fd int, peer netip.Addr, status int) {
	l.config.Refused(peer, status)
	answer := statusLine(status) + "Server: micromirror\r\nConnection: close\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n"
	var request [4 << 10]byte
	rawRead(fd, request[:])
	rawSend(fd, []byte(answer), 0)
	unix.Shutdown(fd, unix.SHUT_WR)
	rawRead(fd, request[:])
	rawClose(fd)
}

// turnAway answers 503 with the spare descriptor when there is no other, and
// stops listening until the next second, so that the loop does not spin.
func (l *loop) turnAway() {
	if l.spare == nil {
		l.pause()
		return
	}
	l.spare.Close()
	l.spare = nil
	var sa unix.RawSockaddrAny
	if fd, e := rawAccept(l.listener, &sa); e == 0 {
		l.refuse(fd, addrOf(&sa), http.StatusServiceUnavailable)
	}
	l.reserve()
}

// reserve gets the spare descriptor back and listens again.
func (l *loop) reserve() {
	if l.spare == nil && !l.getSpare() && !(l.shed() && l.getSpare()) {
		return
	}
	if !l.listens && !l.stopping && l.listen() != nil {
		l.listens = false
	}
}

func (l *loop) getSpare() bool {
	f, err := os.Open(os.DevNull)
	if err != nil {
		return false
	}
	l.spare = f
	return true
}

// shed ends the connection that has been idle longest after its answers: another
// loop or a file may have taken the spare descriptor while it was given up, and
// without one nobody new would even be refused. Clients expect this of a connection
// that persists (RFC 9112, 9.5).
func (l *loop) shed() bool {
	var longest *conn
	for _, c := range l.conns {
		if c != nil && c.idle() && (longest == nil || c.deadline < longest.deadline) {
			longest = c
		}
	}
	if longest != nil {
		l.end(longest)
	}
	return longest != nil
}

// addrOf reads the peer's address.
func addrOf(sa *unix.RawSockaddrAny) netip.Addr {
	b := make([]byte, 0, 28)
	for _, c := range sa.Addr.Data {
		b = append(b, byte(c))
	}
	for _, c := range sa.Pad[:14] {
		b = append(b, byte(c))
	}
	switch sa.Addr.Family {
	case unix.AF_INET:
		return netip.AddrFrom4([4]byte(b[2:6]))
	case unix.AF_INET6:
		return netip.AddrFrom16([16]byte(b[6:22])).Unmap()
	}
	return netip.Addr{}
}
