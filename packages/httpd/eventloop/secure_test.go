package eventloop

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/authority"
	"micromirror/packages/certificate"
	"micromirror/packages/tlsrecord"
)

// secureRig serves connections that come in through a door only.
type secureRig struct {
	*rig
	door   *Door
	config *tls.Config // the server's
	stop   func()
}

func newSecureRig(t *testing.T) *secureRig {
	r := &secureRig{rig: newRig(t, Timeouts{Head: time.Minute, Idle: time.Minute, Stall: time.Minute}), door: &Door{}}
	ca, err := authority.New()
	if err != nil {
		t.Fatal(err)
	}
	data, err := ca.Issue(time.Now().Add(time.Hour), "node.example")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := certificate.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	r.config = &tls.Config{Certificates: []tls.Certificate{*cert}}
	r.rig.config.Door = r.door
	listener := r.listener()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, listener, r.rig.config) }()
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(r.stop)
	return r
}

// arrive makes the handshake and returns the client's side with what is to enter.
func (r *secureRig) arrive() (*tls.Conn, Arrival) {
	r.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { near.Close() })
	far, err := l.Accept()
	if err != nil {
		r.Fatal(err)
	}
	defer far.Close()
	client := tls.Client(near, &tls.Config{InsecureSkipVerify: true})
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	tap := tlsrecord.NewTap(far)
	server := tls.Server(tap, tap.Config(r.config))
	if err := server.Handshake(); err != nil {
		r.Fatal(err)
	}
	if err := <-shaken; err != nil {
		r.Fatal(err)
	}
	state := server.ConnectionState()
	session, err := tap.Take(state.Version, state.CipherSuite)
	if err != nil {
		r.Fatal(err)
	}
	raw, err := far.(*net.TCPConn).SyscallConn()
	if err != nil {
		r.Fatal(err)
	}
	a := Arrival{Client: guest{&r.open}, Session: session}
	if err := raw.Control(func(fd uintptr) { a.FD, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		r.Fatal(err)
	}
	r.open.Add(1)
	return client, a
}

// enter brings an arrival in, as soon as the loops run.
func (r *secureRig) enter(a Arrival) {
	r.Helper()
	for end := time.Now().Add(20 * time.Second); !r.door.Enter(a); {
		if time.Now().After(end) {
			r.Fatal("the door stays closed")
		}
	}
}

// Every way in which a response is sent under TLS: small and inline, large through
// a socket that fills up, and large while the loop keeps too much for others.
func TestSealedResponses(t *testing.T) {
	r := newSecureRig(t)
	for name, want := range map[string][]byte{"small": []byte("small"), "large": make([]byte, 32<<20)} {
		client, a := r.arrive()
		r.enter(a)
		if _, err := io.WriteString(client, "GET /"+name+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(client)
		if err != nil {
			t.Fatalf("%s: %v: the end is not announced", name, err)
		}
		_, body, ok := bytes.Cut(got, []byte("\r\n\r\n"))
		if !ok || !bytes.Equal(body, want) {
			t.Errorf("%s: %d bytes, want %d", name, len(body), len(want))
		}
	}
}

func TestCrowdedLoopSealsLittle(t *testing.T) {
	l := &loop{unsent: crowded + 1}
	if got := l.burst(); got != smallBurst {
		t.Errorf("seals %d bytes at once, want %d", got, smallBurst)
	}
	l.unsent = 0
	if got := l.burst(); got != burst {
		t.Errorf("seals %d bytes at once, want %d", got, burst)
	}
}

// What is no request ends a connection, and gives its account back.
func TestSurprisesUnderTLSEndTheConnection(t *testing.T) {
	r := newSecureRig(t)
	for name, bad := range map[string]func(*tls.Conn) error{
		"plain text": func(c *tls.Conn) error {
			_, err := io.WriteString(c.NetConn(), "GET / HTTP/1.1\r\n\r\n")
			return err
		},
		"forged record": func(c *tls.Conn) error {
			_, err := io.WriteString(c.NetConn(), "\x17\x03\x03\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
			return err
		},
		"close_notify": func(c *tls.Conn) error { return c.CloseWrite() },
		"end":          func(c *tls.Conn) error { return c.NetConn().(*net.TCPConn).CloseWrite() },
	} {
		client, a := r.arrive()
		r.enter(a)
		if err := bad(client); err != nil {
			t.Fatal(err)
		}
		if err := client.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: read %d, %v, want a proper end", name, n, err)
		}
	}
	r.stop()
	if n := r.open.Load(); n != 0 {
		t.Errorf("%d accounts left open", n)
	}
}

func TestClosedDoor(t *testing.T) {
	r := newSecureRig(t)
	client, a := r.arrive()
	r.enter(a)
	r.stop()
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read: %v, want the end", err)
	}
	if r.door.Enter(Arrival{FD: -1}) {
		t.Error("the door is open after the end")
	}
}
