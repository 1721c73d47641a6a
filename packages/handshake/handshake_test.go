package handshake

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/authority"
	"micromirror/packages/certificate"
)

// guest is a client whose network may make so many handshakes.
type guest struct {
	left *atomic.Int64
	open *atomic.Int64
}

func (g guest) Handshake(time.Time) bool { return g.left.Add(-1) >= 0 }
func (g guest) Done()                    { g.open.Add(-1) }

// rig is a running server whose sessions go to arrived or, with refuse, are turned
// away.
type rig struct {
	*testing.T
	server     *Server
	addr       string
	left, open atomic.Int64
	refuse     atomic.Bool
	arrived    chan Arrival
	kept       chan net.Conn
	ready      chan struct{}
	ca         *authority.Authority
}

func newRig(t *testing.T) *rig {
	r := &rig{T: t, arrived: make(chan Arrival, 10), kept: make(chan net.Conn, 10), ready: make(chan struct{})}
	r.left.Store(1000)
	ca, err := authority.New()
	r.must(err)
	r.ca = ca
	data, err := ca.Issue(time.Now().Add(time.Hour), "node.example")
	r.must(err)
	cert, err := certificate.Parse(data)
	r.must(err)
	r.server = New(Config{
		Certificate: func() *tls.Certificate { return cert }, Ready: r.ready,
		Admit: func(netip.Addr, time.Time) Client {
			r.open.Add(1)
			return guest{&r.left, &r.open}
		},
		Enter: func(a Arrival) bool {
			if r.refuse.Load() {
				return false
			}
			r.arrived <- a
			return true
		},
		Unusual: func(c net.Conn, _ Client) { r.kept <- c },
		Timeout: 20 * time.Second, Log: slog.New(slog.DiscardHandler),
	})
	port, err := Bind(t.Context(), "127.0.0.1:0")
	r.must(err)
	addr, err := port.Addr()
	r.must(err)
	r.addr = addr.String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.server.Serve(ctx, port) }()
	t.Cleanup(func() {
		cancel()
		r.must(<-done)
		port.Close()
	})
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// begin lets the server begin, and waits until it has.
func (r *rig) begin() {
	r.Helper()
	close(r.ready)
	for end := time.Now().Add(20 * time.Second); ; {
		conn, err := net.Dial("tcp", r.addr)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(end) {
			r.Fatal(err)
		}
	}
}

func (r *rig) dial() (*tls.Conn, error) {
	return tls.DialWithDialer(&net.Dialer{Timeout: 20 * time.Second}, "tcp", r.addr, &tls.Config{RootCAs: r.ca.Pool(), ServerName: "node.example"})
}

func TestPortIsClosedUntilThereIsACertificate(t *testing.T) {
	r := newRig(t)
	if _, err := net.Dial("tcp", r.addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("before: %v, want refused", err)
	}
	r.begin()
	conn, err := r.dial()
	r.must(err)
	defer conn.Close()
	a := <-r.arrived
	defer unix.Close(a.FD)
	if got := conn.ConnectionState().NegotiatedProtocol; got != "" || a.Peer != netip.MustParseAddr("127.0.0.1") || a.Session.Version != tls.VersionTLS13 {
		t.Errorf("protocol %q, peer %v, version %#x", got, a.Peer, a.Session.Version)
	}
}

func TestNobodyToTakeASession(t *testing.T) {
	r := newRig(t)
	r.begin()
	r.refuse.Store(true)
	conn, err := r.dial()
	r.must(err)
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection lives on")
	}
}

func TestHandshakesAreCounted(t *testing.T) {
	r := newRig(t)
	r.begin()
	r.left.Store(2)
	for i := range 4 {
		conn, err := r.dial()
		if ok := err == nil; ok != (i < 2) {
			t.Errorf("handshake %d: %v", i, err)
		}
		if err == nil {
			a := <-r.arrived
			unix.Close(a.FD)
			a.Client.Done()
			conn.Close()
		}
	}
	stats := r.server.Stats()
	if stats.Full != 2 || stats.Refused != 2 || stats.Sealed != 2 {
		t.Errorf("counted %+v", stats)
	}
}

func TestPlainHTTPGetsAnAnswer(t *testing.T) {
	r := newRig(t)
	r.begin()
	for text, status := range map[string]int{"GET / HTTP/1.1\r\nHost: a\r\n\r\n": 400, "\x00\x01\x02": 0} {
		conn, err := net.Dial("tcp", r.addr)
		r.must(err)
		r.must(conn.SetDeadline(time.Now().Add(20 * time.Second)))
		_, err = io.WriteString(conn, text)
		r.must(err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		got := 0
		if err == nil {
			got = resp.StatusCode
			resp.Body.Close()
		}
		if got != status {
			t.Errorf("%q: status %d, want %d: %v", text, got, status, err)
		}
		conn.Close()
	}
}

func TestShareOfOneNetwork(t *testing.T) {
	greedy, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	synctest.Test(t, func(t *testing.T) {
		s := newShare(3, 2)
		never := func() { t.Error("a handshake was abandoned") }
		now, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var places []*place
		for i, test := range []struct {
			peer netip.Addr
			want bool
		}{
			{greedy, true}, {netip.MustParseAddr("192.0.2.200"), true}, {greedy, false}, // waits the second in vain
		} {
			p := s.begin(now, test.peer, never)
			if (p != nil) != test.want {
				t.Errorf("%d: %v is let in: %v", i, test.peer, p)
			}
			if p != nil {
				places = append(places, p)
			}
		}
		later, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		third := s.begin(later, other, never)
		if third == nil {
			t.Fatal("another network has to wait")
		}
		let := make(chan *place, 1)
		go func() { let <- s.begin(later, greedy, never) }()
		synctest.Wait()
		s.end(places[0])
		fourth := <-let
		if fourth == nil {
			t.Fatal("nobody is let in when one has ended")
		}
		for _, p := range []*place{places[1], third, fourth} {
			s.end(p)
		}
		if len(s.network) != 0 || len(s.slots) != 0 || s.running.Len() != 0 {
			t.Errorf("%d networks and %d handshakes left", len(s.network), len(s.slots))
		}
	})
}

// When all places are taken by clients that stall, the next ones get theirs, each
// after a moment.
func TestStalledHandshakesMakeWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places = 4
		s := newShare(places, 1)
		peer := func(i byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, i, 1}) }
		for i := range byte(places) {
			abandoned := make(chan struct{})
			p := s.begin(t.Context(), peer(i), func() { close(abandoned) })
			go func() {
				<-abandoned
				s.end(p)
			}()
		}
		begun := time.Now()
		for i := range byte(places) {
			if s.begin(t.Context(), peer(100+i), func() { t.Error("a fresh handshake was abandoned") }) == nil {
				t.Fatal("not let in")
			}
		}
		if took := time.Since(begun); took < fair || took > 2*fair { // of the bubble's clock
			t.Errorf("waited %v", took)
		}
	})
}

func TestBindRefusesNonsense(t *testing.T) {
	for _, address := range []string{"", "nothing", "name.example:443", "127.0.0.1:http:s", ":99999"} {
		if p, err := Bind(t.Context(), address); err == nil {
			p.Close()
			t.Errorf("%q was bound", address)
		}
	}
	p, err := Bind(t.Context(), ":0") // both families
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if addr, err := p.Addr(); err != nil || addr.Port() == 0 {
		t.Errorf("address %v, %v", addr, err)
	}
}
