package eventloop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/httpd/accesslog"
	"micromirror/packages/httpd/answer"
	"micromirror/packages/httpd/cache"
	"micromirror/packages/httpd/tree"
)

// site answers every path with a file in its directory.
type site struct {
	t     *testing.T
	tree  *tree.Tree
	cache *cache.Cache
}

func (s *site) Cached([]byte) *cache.Item { return nil }

func (s *site) Quick(*answer.Request) bool { return false }

func (s *site) Refuse(status int) *answer.Response {
	return &answer.Response{Status: status, Header: []byte("Content-Length: 0\r\n")}
}

func (s *site) Answer(r *answer.Request) *answer.Response {
	name := strings.TrimPrefix(r.Path, "/")
	if item := s.cache.Get([]byte(name)); item != nil {
		return whole(item)
	}
	item, err := s.cache.Fill(name, cache.Need{Name: name}, func() (*cache.Item, []cache.Need, error) {
		f, err := s.tree.Lookup(name)
		if err != nil {
			return nil, nil, err
		}
		return &cache.Item{Name: name, File: f, Length: f.Size()}, nil, nil
	})
	if errors.Is(err, tree.ErrNotExist) {
		return s.Refuse(http.StatusNotFound)
	}
	if err != nil {
		return s.Refuse(http.StatusServiceUnavailable)
	}
	return whole(item)
}

func whole(item *cache.Item) *answer.Response {
	return &answer.Response{
		Status: http.StatusOK, Header: fmt.Appendf(nil, "Content-Length: %d\r\n", item.Length), Length: item.Length,
		Item: item, Body: []answer.Segment{{Length: item.Length}},
	}
}

// guest is let in without conditions.
type guest struct{ open *atomic.Int64 }

func (guest) Request(time.Time, []byte) int { return 0 }
func (g guest) Done()                       { g.open.Add(-1) }

// rig is a site with the configuration to serve it.
type rig struct {
	*testing.T
	site   *site
	config Config
	open   atomic.Int64
	addr   string
}

func newRig(t *testing.T, timeouts Timeouts) *rig {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "small"), []byte("small"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "large"), make([]byte, 32<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	tr, err := tree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cache.New(tr, dir, cache.Limits{Items: 10, Bytes: 1 << 20, Dirs: 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); tr.Close() })
	r := &rig{T: t, site: &site{t, tr, c}}
	r.config = Config{
		Site: r.site, Cache: c, Loops: 2, Timeouts: timeouts, Grace: time.Second,
		Unusual: func(conn net.Conn, _ Client) { conn.Close() },
		Record:  func(lines, _ []byte, _ *accesslog.Record) []byte { return lines },
		Flush:   func([]byte) {},
		Refused: func(netip.Addr, int) {},
		Admit: func(netip.Addr, time.Time) (Client, int) {
			r.open.Add(1)
			return guest{&r.open}, 0
		},
	}
	return r
}

func (r *rig) listener() *net.TCPListener {
	r.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { l.Close() })
	r.addr = l.Addr().String()
	return l.(*net.TCPListener)
}

// serve runs the loops until the test ends.
func (r *rig) serve() {
	l := r.listener()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, r.config) }()
	r.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.Error(err)
		}
		if n := r.open.Load(); n != 0 {
			r.Errorf("%d connections are not accounted for", n)
		}
	})
}

func (r *rig) dial() net.Conn {
	r.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		r.Fatal(err)
	}
	return conn
}

func (r *rig) write(conn net.Conn, s string) {
	r.Helper()
	if _, err := io.WriteString(conn, s); err != nil {
		r.Fatal(err)
	}
}

const get = " HTTP/1.1\r\nHost: a\r\n\r\n"

func TestClientsThatDoNotMoveAreCutOff(t *testing.T) {
	for name, send := range map[string]string{
		"says nothing": "", "half a head": "GET / HTT", "idle after a request": "GET /small" + get, "reads nothing": "GET /large" + get,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Timeouts{Head: time.Second, Idle: time.Second, Stall: time.Second})
			r.serve()
			conn := r.dial()
			r.write(conn, send)
			// Its end shows on the server's side: the count falls to zero.
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
				if r.open.Load() == 0 && send == "" || r.ended(conn) {
					return
				}
				if time.Now().After(deadline) {
					t.Fatal("connection is still open")
				}
			}
		})
	}
}

// ended says whether the server has given the connection up. It reads nothing
// that a client which reads nothing would not have.
func (r *rig) ended(conn net.Conn) bool {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		r.Fatal(err)
	}
	state := byte(0)
	if err := raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			state = info.State
		}
	}); err != nil {
		r.Fatal(err)
	}
	const established = 1
	return state != established
}

func TestMovingClientsFinishHoweverSlow(t *testing.T) {
	r := newRig(t, Timeouts{Head: time.Second, Idle: time.Second, Stall: time.Second})
	r.serve()
	conn := r.dial()
	r.write(conn, "GET /large"+get)
	body := bufio.NewReader(conn)
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = body.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	// Twelve pieces, each a third of the stall timeout apart.
	tick := time.NewTicker(time.Second / 3)
	defer tick.Stop()
	left := int64(32 << 20)
	for left > 0 {
		n, err := io.CopyN(io.Discard, body, min(left, 3<<20))
		if err != nil {
			t.Fatalf("with %d bytes left: %v", left, err)
		}
		left -= n
		<-tick.C
	}
}

// still makes a loop that does only what the test calls.
func (r *rig) still() *loop {
	r.Helper()
	file, err := r.listener().File()
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { file.Close() })
	if err := prepareListener(int(file.Fd())); err != nil {
		r.Fatal(err)
	}
	loop, err := newLoop(int(file.Fd()), &r.config, &disk{}) // without helpers, it answers itself
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { loop.close(); rawClose(loop.wake.fd) })
	return loop
}

func TestOutOfDescriptors(t *testing.T) {
	r := newRig(t, Timeouts{Head: time.Second, Idle: time.Second, Stall: time.Second})
	loop := r.still()
	conn := r.dial()
	r.write(conn, "GET /small"+get)
	loop.turnAway()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("%v, %v, want 503", resp, err)
	}
	if loop.spare == nil || !loop.listens {
		t.Error("the loop is not ready for the next client")
	}
	// With the reserve gone too, it waits instead of spinning.
	loop.spare.Close()
	loop.spare = nil
	loop.turnAway()
	if loop.listens {
		t.Error("the loop listens without a descriptor to refuse with")
	}
	loop.reserve()
	if loop.spare == nil || !loop.listens {
		t.Error("the loop has not recovered")
	}
}

func TestColdFileIsReadByHelpers(t *testing.T) {
	r := newRig(t, Timeouts{Head: time.Minute, Idle: time.Minute, Stall: time.Minute})
	r.serve()
	f, err := r.site.tree.Lookup("large")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fsync(f.FD()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := unix.Fadvise(f.FD(), 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		conn := r.dial()
		r.write(conn, "GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /small"+get)
		data, err := io.ReadAll(conn)
		if err != nil || len(data) < 32<<20 {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
	}
}
