package eventloop

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/httpd/accesslog"
	"micromirror/packages/httpd/answer"
	"micromirror/packages/httpd/wire"
	"micromirror/packages/tlsrecord"
)

// loop is one event loop. Only its own goroutine touches it, wake and woken
// excepted.
type loop struct {
	config   *Config
	epoll    int
	listener int
	spare    *os.File // a descriptor to give up when there are none left
	wake     waker
	disk     *disk

	conns []*conn // by slot, nil where free
	free  []int32
	gen   int32
	open  int

	now     time.Time
	second  int64
	turn    int64  // how much of a response is sent in this round
	okHead  []byte // status line, Server and Date of a 200
	date    []byte
	stamp   []byte // the access log's time
	buf     []byte // what is read
	head    []byte // what is written
	scratch output
	segment [1]answer.Segment // body of scratch
	log     []byte
	sealed  []byte   // what is read under TLS
	stage   []byte   // sealed for the connection that is being sent to
	parts   [][]byte // where file content goes on the stage
	unsent  int      // bytes that connections keep because their sockets are full

	stopping bool
	listens  bool
	giveUp   time.Time

	mu       sync.Mutex
	results  []result  // of helpers
	arrivals []Arrival // through Config.Door
}

// Slots below zero are not connections.
const (
	slotListener = -1
	slotWake     = -2
	slotCache    = -3
)

const (
	readSize = 16 << 10
	logSize  = 32 << 10
)

func newLoop(listener int, c *Config, d *disk) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	l := &loop{
		config: c, epoll: epoll, listener: listener, disk: d,
		buf: make([]byte, readSize+wire.MaxHead+tlsrecord.MaxRecord), sealed: make([]byte, tlsrecord.MaxRecord),
		stage: make([]byte, 0, stageSize), head: make([]byte, 0, 32<<10), log: make([]byte, 0, 2*logSize),
	}
	if l.wake, err = newWaker(); err != nil {
		return nil, err
	}
	if l.spare, err = os.Open(os.DevNull); err != nil {
		return nil, fmt.Errorf("reserve a descriptor: %w", err)
	}
	return l, errors.Join(
		l.add(l.wake.fd, unix.EPOLLIN, slotWake),
		l.add(c.Cache.FD(), unix.EPOLLIN, slotCache),
		l.listen(),
	)
}

func (l *loop) add(fd int, events uint32, slot int32) error {
	if e := control(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: slot}); e != 0 {
		return fmt.Errorf("watch descriptor: %w", e)
	}
	return nil
}

// listen starts to take connections. Only one of the loops is woken for each.
func (l *loop) listen() error {
	l.listens = true
	return l.add(l.listener, unix.EPOLLIN|unix.EPOLLEXCLUSIVE, slotListener)
}

func (l *loop) pause() {
	if l.listens {
		l.listens = false
		control(l.epoll, unix.EPOLL_CTL_DEL, l.listener, &unix.EpollEvent{})
	}
}

func (l *loop) close() {
	for _, c := range l.conns {
		if c != nil {
			l.end(c)
		}
	}
	l.flush()
	rawClose(l.epoll)
	if l.spare != nil {
		l.spare.Close()
	}
}

// run is the loop.
func (l *loop) run(ctx context.Context) error {
	// The same thread throughout keeps the processor's caches warm.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer l.close()
	events := make([]unix.EpollEvent, 512)
	l.tick(time.Now())
	for {
		n, err := l.poll(events)
		if err != nil {
			return err
		}
		l.tick(time.Now())
		l.turn = turn(n)
		l.sync(events[:n])
		for i := range events[:n] {
			l.dispatch(&events[i])
		}
		if ctx.Err() != nil && !l.stopping {
			l.stop()
		}
		if l.stopping && (l.open == 0 || l.now.After(l.giveUp)) {
			return nil
		}
	}
}

// patience is how long, in milliseconds, a loop waits before it lets Go's
// scheduler know.
const patience = 9

// poll waits for events, at most a second.
func (l *loop) poll(events []unix.EpollEvent) (int, error) {
	switch n, e := rawPoll(l.epoll, events, patience); {
	case e == unix.EINTR:
		return 0, nil
	case e == 0 && n > 0:
		return n, nil
	}
	n, err := unix.EpollWait(l.epoll, events, 1000)
	if errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("wait for events: %w", err)
	}
	return n, nil
}

// sync brings the cache up to date before any request of this round is answered.
func (l *loop) sync(events []unix.EpollEvent) {
	for i := range events {
		if events[i].Fd == slotCache {
			l.config.Cache.Sync()
		}
	}
}

func (l *loop) dispatch(ev *unix.EpollEvent) {
	switch ev.Fd {
	case slotListener:
		l.accept()
	case slotWake:
		l.wake.drain()
		l.resume()
	case slotCache:
	default:
		c := l.conns[ev.Fd]
		if c == nil || c.id.gen != ev.Pad {
			return
		}
		l.ready(c)
	}
}

// ready handles what the poller says about a connection.
func (l *loop) ready(c *conn) {
	switch {
	case c.helped: // only the client's going away is reported
		l.end(c)
	case c.out != nil:
		l.proceed(c)
	default:
		l.receive(c)
	}
}

// tick moves the loop's clock and, once a second, everything that depends on it.
func (l *loop) tick(now time.Time) {
	l.now = now
	if now.Unix() == l.second {
		return
	}
	l.second = now.Unix()
	l.date = now.UTC().AppendFormat(l.date[:0], http.TimeFormat)
	l.okHead = append(l.okHead[:0], "HTTP/1.1 200 OK\r\n"...)
	l.okHead = l.appendServer(l.okHead)
	l.stamp = accesslog.Stamp(l.stamp[:0], now)
	l.flush()
	l.expire()
	l.reserve()
}

func (l *loop) appendServer(b []byte) []byte {
	b = append(b, "Server: micromirror\r\nDate: "...)
	b = append(b, l.date...)
	return append(b, "\r\n"...)
}

func (l *loop) flush() {
	l.config.Flush(l.log)
	l.log = l.log[:0]
}

// expire ends connections whose time is over. One that was being sent to is
// reset: otherwise the kernel would hold what is in its buffer, megabytes perhaps,
// for a client that takes nothing.
func (l *loop) expire() {
	for _, c := range l.conns {
		if c == nil || c.deadline >= l.second || c.helped {
			continue
		}
		if c.out != nil {
			// Should this fail, the connection ends the slow way.
			_ = unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		}
		l.end(c)
	}
}

// stop begins the end: no new connections, idle ones go, others are told that
// their response is the last.
func (l *loop) stop() {
	l.stopping = true
	l.giveUp = l.now.Add(l.config.Grace)
	l.pause()
	for _, c := range l.conns {
		if c == nil {
			continue
		}
		if c.last = true; c.out == nil && c.in == nil && !c.helped {
			l.end(c)
		}
	}
}
