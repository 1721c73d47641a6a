package eventloop

import (
	"syscall"

	"golang.org/x/sys/unix"

	"micromirror/packages/httpd/answer"
)

// progress is how far an output has come.
type progress int

const (
	complete progress = iota
	blocked           // the socket is full
	waiting           // a helper reads the disk
	broken            // the client is gone, or the file cannot be read
)

// slice is how much of a file is sent in one call, and read ahead of sending.
const slice = 1 << 20

// A response is sent for a turn before others get theirs. The more there are, the
// shorter it is, so that a round of all of them stays short.
const (
	longestTurn  = 2 * slice
	shortestTurn = slice / 4
	round        = 16 * slice
)

// turn is how much of one response may be sent in a round of n events.
func turn(n int) int64 { return min(longestTurn, max(shortestTurn, round/int64(max(n, 1)))) }

// inlineBody is the largest body in memory that is copied behind the head, to go
// with it in one call.
const inlineBody = 16 << 10

// start begins a response and finishes it at once if the socket takes it all.
func (l *loop) start(c *conn, o *output) {
	if len(o.body) == 1 && o.body[0].Length <= inlineBody {
		if data, ok := bytesOf(o, &o.body[0]); ok {
			o.head = append(o.head, data...)
			l.head = o.head
			o.body = o.body[:0]
		}
	}
	p := l.send(c, o)
	if p == blocked || p == waiting {
		c.out = o.park()
		c.deadline = l.deadlineIn(l.config.Timeouts.Stall)
		l.wait(c, p)
		return
	}
	l.settle(c, o, p)
}

// proceed goes on with a response when the socket has room or the disk is read.
func (l *loop) proceed(c *conn) {
	o := c.out
	before := o.sent
	switch p := l.send(c, o); p {
	case blocked, waiting:
		l.wait(c, p)
	default:
		c.out = nil
		l.settle(c, o, p)
		l.goOn(c)
		return
	}
	if o.sent != before {
		c.deadline = l.deadlineIn(l.config.Timeouts.Stall)
	}
}

// goOn answers the requests that came in behind one that took longer.
func (l *loop) goOn(c *conn) {
	if c.fd < 0 || c.out != nil || c.in == nil {
		return
	}
	data := c.in
	c.in = nil
	l.handle(c, data)
}

// settle ends a response and decides what becomes of the connection.
func (l *loop) settle(c *conn, o *output, p progress) {
	l.finish(c, o)
	if p == broken || c.last {
		l.end(c)
		c.fd = -1
		return
	}
	c.answered = true
	l.interest(c, forRequest)
	c.deadline = l.deadlineIn(l.config.Timeouts.Idle)
}

// finish logs a response, whole or not, and gives its item back.
func (l *loop) finish(_ *conn, o *output) {
	o.record.Sent = o.sent
	o.record.Duration = l.now.Sub(o.record.Time)
	l.log = l.config.Record(l.log, l.stamp, &o.record)
	if len(l.log) >= logSize {
		l.flush()
	}
	if o.item != nil {
		o.item.Release()
		o.item = nil
	}
}

// What a connection may wait for. Errors and the other side's end are reported
// in any case.
const (
	forRequest = unix.EPOLLIN | unix.EPOLLRDHUP
	forRoom    = unix.EPOLLOUT
	forNothing = 0
)

// wait tells the poller what an unfinished response waits for.
func (l *loop) wait(c *conn, p progress) {
	if p == blocked {
		l.interest(c, forRoom)
	} else {
		l.interest(c, forNothing)
	}
}

func (l *loop) interest(c *conn, events uint32) {
	if c.waits == events {
		return
	}
	c.waits = events
	control(l.epoll, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: events, Fd: c.id.slot, Pad: c.id.gen})
}

// bytesOf returns a segment's bytes if they are in memory.
func bytesOf(o *output, s *answer.Segment) ([]byte, bool) {
	switch {
	case s.Data != nil:
		return s.Data, true
	case s.Length == 0:
		return nil, true
	case o.item.Body != nil:
		return o.item.Body[s.Off : s.Off+s.Length], true
	}
	return nil, false
}

// send sends as much as the socket takes in one turn.
func (l *loop) send(c *conn, o *output) progress {
	p := l.sendOutput(c, o)
	if c.seals() {
		return l.deliver(c, p)
	}
	return p
}

func (l *loop) sendOutput(c *conn, o *output) progress {
	for len(o.head) > 0 {
		flags := 0
		if len(o.body) > 0 {
			flags = unix.MSG_MORE
		}
		n, e := l.write(c, o.head, flags)
		if e != 0 {
			return sendError(e)
		}
		o.head = o.head[n:]
		headers := min(int64(n), o.headers)
		o.headers -= headers
		o.sent += int64(n) - headers
	}
	for room := l.turn; len(o.body) > 0; {
		s := &o.body[0]
		if o.off == s.Length {
			o.body, o.off = o.body[1:], 0
			continue
		}
		if room <= 0 {
			return blocked
		}
		length := min(s.Length-o.off, slice, room)
		n, p := l.sendSegment(c, o, s, length)
		if p != complete {
			return p
		}
		o.off += n
		o.sent += n
		room -= n
		if n < length { // asking again would only hear that it is full
			return blocked
		}
	}
	return complete
}

// sendSegment sends a part of the first segment.
func (l *loop) sendSegment(c *conn, o *output, s *answer.Segment, length int64) (int64, progress) {
	if data, ok := bytesOf(o, s); ok {
		flags := 0
		if len(o.body) > 1 {
			flags = unix.MSG_MORE
		}
		n, e := l.write(c, data[o.off:o.off+length], flags)
		if e != 0 {
			return 0, sendError(e)
		}
		return int64(n), complete
	}
	return l.sendPages(c, o, s.Off+o.off, length)
}

// sendPages sends a part of the item's file, once it is in memory.
func (l *loop) sendPages(c *conn, o *output, off, length int64) (int64, progress) {
	transmit := sendFile
	if l.cold(o, off, length) {
		o.item.Retain()
		if l.disk.ask(&fetch{loop: l, id: c.id, item: o.item, off: off, n: int(length)}) {
			c.helped = true
			return 0, waiting
		}
		o.item.Release() // every helper is busy: this loop reads by itself
		transmit = sendFileSlowly
	}
	n, e := l.transmit(c, o.item.File.FD(), off, int(length), transmit)
	switch {
	case e != 0:
		return 0, sendError(e)
	case n == 0: // the file is shorter than it was
		return 0, broken
	}
	return int64(n), complete
}

// transmit sends a part of a file in the way given, or seals it.
func (l *loop) transmit(c *conn, file int, off int64, n int, way func(sock, file int, off *int64, n int) (int, syscall.Errno)) (int, syscall.Errno) {
	if c.tls != nil {
		c.tls.session.Count(n)
	}
	if c.seals() {
		return l.sealFile(c, file, off, n)
	}
	return way(c.fd, file, &off, n)
}

// warm is for how long, in seconds, a small file that was found in memory is
// believed to be there.
const warm = 5

// cold says whether sending would wait for the disk.
func (l *loop) cold(o *output, off, length int64) bool {
	small := o.item.Length <= slice
	if small && o.item.Warm.Load() >= l.second {
		return false
	}
	fd := o.item.File.FD()
	if !resident(fd, off) || length > 4096 && !resident(fd, off+length-1) {
		return true
	}
	if small && length == o.item.Length {
		o.item.Warm.Store(l.second + warm)
	}
	return false
}

func sendError(e unix.Errno) progress {
	if e == unix.EAGAIN || e == unix.EINTR {
		return blocked
	}
	return broken
}
