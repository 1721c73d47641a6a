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
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/httpd/answer"
)

// crowd is what a node must bear.
const crowd = 20000

// allow raises the limit of open files to want, or as far as it may, and returns
// what it is then. The test's end restores it.
func allow(t *testing.T, want uint64) uint64 {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
	})
	limit := unix.Rlimit{Cur: want, Max: max(want, old.Max)}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		limit.Cur, limit.Max = min(want, old.Max), old.Max
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}
	return limit.Cur
}

// Twenty thousand clients keep their connections, and every one is served again.
// Where the test may not open that many, it makes do with what it may. The clients
// are processes of their own, since they need as many descriptors as the server.
func TestTwentyThousandConnections(t *testing.T) {
	const others, parts = 300, 4
	n := int(min(crowd, allow(t, crowd+others)-others)) / parts * parts
	r := newRig(t, Timeouts{Head: 5 * time.Minute, Idle: 5 * time.Minute, Stall: 5 * time.Minute})
	r.serve()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	for part := range parts {
		cmd := exec.CommandContext(t.Context(), program)
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s 127.0.0.%d %d", clientsVariable, r.addr, 1+part, n/parts))
		cmd.Stderr = os.Stderr
		stdin, err1 := cmd.StdinPipe()
		stdout, err2 := cmd.StdoutPipe()
		if err := errors.Join(err1, err2, cmd.Start()); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { // its line says that all were served
			if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "served\n" {
				t.Errorf("clients say %q, %v", line, err)
			}
		})
		go func() {
			<-done
			stdin.Close()
		}()
		t.Cleanup(func() { _ = cmd.Wait() }) // how it ends does not matter
	}
	wg.Wait()
	if got := r.open.Load(); got != int64(n) {
		t.Errorf("%d connections are open, want %d", got, n)
	}
	t.Logf("%d connections", n)
	close(done)
}

// clientsVariable makes the test's program a crowd of clients: server, own address,
// number.
const clientsVariable = "EVENTLOOP_TEST_CLIENTS"

func TestMain(m *testing.M) {
	if orders := os.Getenv(clientsVariable); orders != "" {
		if err := clients(orders); err != nil {
			fmt.Fprintln(os.Stderr, "clients:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// clients connects, asks on every connection, twice, and stays until its input
// ends.
func clients(orders string) error {
	var server, own string
	var n int
	if _, err := fmt.Sscan(orders, &server, &own, &n); err != nil {
		return err
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(own)}, Timeout: time.Minute}
	conns := make([]net.Conn, n)
	for i := range conns {
		var err error
		if conns[i], err = d.Dial("tcp", server); err != nil {
			return err
		}
	}
	answer := make([]byte, 512)
	for range 2 {
		for _, conn := range conns {
			if _, err := io.WriteString(conn, "HEAD /small"+get); err != nil {
				return err
			}
		}
		for i, conn := range conns {
			m, err := conn.Read(answer)
			if err != nil || !strings.HasPrefix(string(answer[:m]), "HTTP/1.1 200 ") {
				return fmt.Errorf("connection %d: %q, %w", i, answer[:m], err)
			}
		}
	}
	fmt.Println("served")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// With more clients than descriptors, each gets an answer, and the server is there
// when they have gone.
func TestMoreClientsThanDescriptors(t *testing.T) {
	r := newRig(t, Timeouts{Head: time.Minute, Idle: time.Minute, Stall: time.Minute})
	listener := r.listener()
	conns := make([]net.Conn, 60)
	for i := range conns {
		conns[i] = r.dial() // the kernel holds it until it is accepted
		r.write(conns[i], "GET /small HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	allow(t, uint64(len(open)+30))                         // for the loops themselves and some clients
	r.site.Answer(&answer.Request{Path: "/small"}).Close() // opened once, it is served from the cache
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, listener, r.config) }()
	statuses := map[int]int{}
	for _, conn := range conns {
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		statuses[resp.StatusCode]++
	}
	if statuses[http.StatusOK] == 0 || statuses[http.StatusServiceUnavailable] == 0 || len(statuses) != 2 {
		t.Errorf("answers by status: %v, want some 200 and some 503", statuses)
	}
	for _, conn := range conns {
		conn.Close()
	}
	conn := r.dial()
	r.write(conn, "GET /small"+get)
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %v, %v", resp, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A loop that lost its spare descriptor to somebody else gets one back from a
// connection that is idle, not from one that waits for its answer.
func TestSpareDescriptorIsRegained(t *testing.T) {
	r := newRig(t, Timeouts{Head: time.Minute, Idle: time.Minute, Stall: time.Minute})
	r.site.Answer(&answer.Request{Path: "/small"}).Close() // opened once, it is served from the cache
	loop := r.still()
	waiting, idle, later := r.dial(), r.dial(), r.dial()
	loop.accept()
	loop.accept()
	r.write(idle, "HEAD /small"+get)
	loop.ready(loop.conns[1])
	if resp, err := http.ReadResponse(bufio.NewReader(idle), nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	fill := func() {
		for {
			f, err := os.Open(os.DevNull)
			if err != nil {
				return
			}
			t.Cleanup(func() { f.Close() })
		}
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	allow(t, uint64(len(open)+10))
	loop.spare.Close()
	loop.spare = nil
	fill()
	r.write(later, "HEAD /small"+get)
	loop.accept()
	if loop.listens {
		t.Fatal("the loop listens without a descriptor to refuse with")
	}
	loop.reserve()
	if loop.spare == nil || !loop.listens || loop.open != 1 {
		t.Fatalf("spare %v, listens %v, %d connections; want one back, and the connection that waits", loop.spare, loop.listens, loop.open)
	}
	loop.accept()
	if resp, err := http.ReadResponse(bufio.NewReader(later), nil); err != nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the next client: %v, %v, want 503", resp, err)
	}
	r.write(waiting, "HEAD /small"+get)
	loop.ready(loop.conns[0])
	if resp, err := http.ReadResponse(bufio.NewReader(waiting), nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the connection that waited: %v, %v", resp, err)
	}
}

// Clients that take all they can get do not keep others waiting: a small request is
// answered long before they have what they want.
func TestFairBesideGreedyClients(t *testing.T) {
	r := newRig(t, Timeouts{Head: time.Minute, Idle: time.Minute, Stall: time.Minute})
	r.config.Loops = 1 // all share it
	r.serve()
	var taken atomic.Int64
	const greedy, large = 20, 32 << 20
	for range greedy {
		conn := r.dial()
		go func() {
			b := make([]byte, 256<<10)
			for n, err := 0, error(nil); err == nil; n, err = conn.Read(b) {
				// Whenever a file's worth has come, more or less, another is asked for.
				if before := taken.Add(int64(n)) - int64(n); n == 0 || before/large != (before+int64(n))/large {
					_, _ = io.WriteString(conn, "GET /large"+get)
				}
			}
		}()
	}
	conn := r.dial()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	body := bufio.NewReader(conn)
	const small = 10
	for range small {
		r.write(conn, "GET /small"+get)
		resp, err := http.ReadResponse(body, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	if each := taken.Load() / small; each > greedy*large/2 {
		t.Errorf("for each small request, the others took %d MB", each>>20)
	}
}

// The more connections there are, the less is queued for each.
func TestCrowdIsRationed(t *testing.T) {
	r := newRig(t, Timeouts{})
	l := r.listener()
	client := r.dial()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd := int(file.Fd())
	loop := &loop{}
	const own = 123456
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, own); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ open, want int }{{1, own}, {256, own}, {512, 512 << 10}, {4096, 64 << 10}, {20000, 32 << 10}} {
		loop.open = test.open
		loop.ration(fd)
		if got, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT); err != nil || got != test.want {
			t.Errorf("with %d connections %d bytes, %v, want %d", test.open, got, err, test.want)
		}
	}
	client.Close()
}

// A network that opens connections without end is cut to its share, and another
// gets in. The rule is package limit's; here it is seen at work under the loops.
func TestFloodOfConnections(t *testing.T) {
	r := newRig(t, Timeouts{Head: time.Minute, Idle: time.Minute, Stall: time.Minute})
	flood := netip.MustParseAddr("127.0.1.1")
	const share = 20
	var held atomic.Int64
	admit := r.config.Admit
	r.config.Admit = func(peer netip.Addr, now time.Time) (Client, int) {
		if peer == flood && held.Add(1) > share {
			return nil, http.StatusTooManyRequests
		}
		return admit(peer, now)
	}
	var refused atomic.Int64
	r.config.Refused = func(peer netip.Addr, status int) {
		if peer != flood || status != http.StatusTooManyRequests {
			t.Errorf("%v was refused with %d", peer, status)
		}
		refused.Add(1)
	}
	r.serve()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: flood.AsSlice()}}
	for i := range 300 {
		conn, err := d.DialContext(t.Context(), "tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if i%100 == 50 {
			other := r.dial()
			r.write(other, "GET /small"+get)
			if resp, err := http.ReadResponse(bufio.NewReader(other), nil); err != nil || resp.StatusCode != http.StatusOK {
				t.Fatal(fmt.Errorf("during the flood: %v, %w", resp, err))
			}
		}
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); refused.Load() != 300-share; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections of 300 were refused, want %d", refused.Load(), 300-share)
		}
	}
}
