// Package eventloop serves ordinary HTTP/1 requests with as few system calls and
// as little memory as the kernel allows.
//
// A few loops, each a goroutine with an epoll of its own, share the listener. A
// connection belongs to one loop and costs a small structure while it is idle:
// no goroutine, no buffer. An ordinary request (see package wire) is read,
// answered and logged in place: one read and one write, or one write and
// sendfile for a file that is not small. Everything else is handed over with the
// bytes read so far, once and for good, to Config.Unusual, which gives it to
// net/http.
//
// Promises: a response is always from one version of a file; a client that does
// not move for the time in Timeouts is cut off, one that moves may finish; a slow
// or cold disk delays who waits for it and nobody else, because helpers open files,
// render listings and read pages that are not in memory for the loop; without
// descriptors a client gets 503 and the loop lives on. At the end of the context
// idle connections are closed and running responses may end within Grace.
package eventloop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/httpd/accesslog"
	"micromirror/packages/httpd/answer"
	"micromirror/packages/httpd/cache"
)

// Site answers requests; *answer.Site does.
type Site interface {
	// Cached returns the item for a plain GET of the target, or nil.
	Cached(target []byte) *cache.Item
	// Quick says whether Answer will do without the disk.
	Quick(*answer.Request) bool
	Answer(*answer.Request) *answer.Response
	// Refuse is the answer to a request that is not let in.
	Refuse(status int) *answer.Response
}

// Client is the account of a connection that was let in; *limit.Client is one.
type Client interface {
	// Request is asked for every request and returns 0 or the status to refuse
	// it with.
	Request(now time.Time, agent []byte) int
	Done()
}

// Timeouts bound what a client may hold up.
type Timeouts struct {
	Head  time.Duration // for a request head, from its first byte
	Idle  time.Duration // between requests
	Stall time.Duration // without the client taking a byte
}

// Config is what the loops need.
type Config struct {
	Site  Site
	Cache *cache.Cache
	// Unusual takes a connection over, with what has been read of it.
	Unusual func(conn net.Conn, client Client)
	// Record is called with every answered request, whose slices are valid
	// during the call only; stamp is its time as the log writes it. What is
	// appended to lines goes to Flush before long.
	Record func(lines, stamp []byte, r *accesslog.Record) []byte
	Flush  func(lines []byte)
	// Refused is told of a connection that was not let in.
	Refused func(peer netip.Addr, status int)
	// Admit is asked for every connection and lets it in or returns the status
	// to refuse it with: 403, 429 or 503.
	Admit    func(peer netip.Addr, now time.Time) (Client, int)
	Door     *Door // further connections, under TLS; nil for none
	Loops    int
	Timeouts Timeouts
	Grace    time.Duration
}

// Serve runs the loops on a listener until ctx ends and running responses are
// done. It leaves the listener open.
func Serve(ctx context.Context, l *net.TCPListener, c Config) error {
	file, err := l.File()
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	defer file.Close()
	listener := int(file.Fd())
	if err := prepareListener(listener); err != nil {
		return fmt.Errorf("serve: prepare listener: %w", err)
	}
	disk := newDisk()
	var wg sync.WaitGroup
	errs := make([]error, c.Loops)
	loops, err := newLoops(listener, &c, disk)
	c.Door.open(loops)
	for i, loop := range loops {
		defer rawClose(loop.wake.fd) // helpers may signal until they have ended
		stop := context.AfterFunc(ctx, loop.wake.signal)
		wg.Go(func() {
			defer stop()
			errs[i] = loop.run(ctx)
		})
	}
	wg.Wait()
	c.Door.shut(loops)
	disk.close()
	return errors.Join(append(errs, err)...)
}

// newLoops makes all loops or none.
func newLoops(listener int, c *Config, d *disk) ([]*loop, error) {
	var loops []*loop
	for range c.Loops {
		l, err := newLoop(listener, c, d)
		if err != nil {
			for _, l := range loops {
				l.close()
				rawClose(l.wake.fd)
			}
			return nil, fmt.Errorf("serve: %w", err)
		}
		loops = append(loops, l)
	}
	return loops, nil
}

// unsent is what the kernel may hold of a response before it is sent. More would
// make nothing faster and fill the memory that all connections share.
const unsent = 1 << 20

// prepareListener sets what accepted sockets inherit.
func prepareListener(fd int) error {
	return errors.Join(
		unix.SetNonblock(fd, true),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 60),
	)
}
