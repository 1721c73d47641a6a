package syslog

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Port is what a collector listens on by default.
const Port = "6514"

// Collector says where messages go.
type Collector struct {
	Addr  string         // host or host:port
	Roots *x509.CertPool // whose certificates count; nil: the system's
	// Patience bounds each step: to connect, to send, to see a batch confirmed.
	Patience time.Duration
}

// Sender is a connection to a collector.
type Sender struct {
	conn     *tls.Conn
	tcp      *net.TCPConn
	patience time.Duration
}

// Dial connects to the collector and checks its certificate.
func (c *Collector) Dial(ctx context.Context) (*Sender, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Patience)
	defer cancel()
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		host, port = c.Addr, Port
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("syslog collector: %w", err)
	}
	s := &Sender{
		conn:     tls.Client(conn, &tls.Config{ServerName: host, RootCAs: c.Roots, MinVersion: tls.VersionTLS12}),
		tcp:      conn.(*net.TCPConn),
		patience: c.Patience,
	}
	if err := s.conn.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("syslog collector %s: %w", c.Addr, err)
	}
	go s.watch()
	return s, nil
}

// watch reads what a collector never sends: its end of the connection. Without it
// the first message after that end would seem to be sent.
func (s *Sender) watch() {
	var b [1]byte
	for {
		if _, err := s.conn.Read(b[:]); err != nil {
			s.tcp.Close()
			return
		}
	}
}

// Send sends whole frames and waits until they are confirmed. After an error the
// connection is of no use any more.
func (s *Sender) Send(ctx context.Context, frames []byte) error {
	end := time.Now().Add(s.patience)
	if err := s.conn.SetWriteDeadline(end); err != nil {
		return fmt.Errorf("send to syslog collector: %w", err)
	}
	if _, err := s.conn.Write(frames); err != nil {
		return fmt.Errorf("send to syslog collector: %w", err)
	}
	if err := s.confirmed(ctx, end); err != nil {
		return fmt.Errorf("send to syslog collector: %w", err)
	}
	return nil
}

// errUnconfirmed means that the network takes no more.
var errUnconfirmed = errors.New("not confirmed in time")

// farewell is how long an end waits for a confirmation that is under way.
const farewell = time.Second

// confirmed waits until the peer's kernel has acknowledged all that was written.
func (s *Sender) confirmed(ctx context.Context, end time.Time) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := s.unconfirmed()
		if err != nil || left == 0 {
			return err
		}
		if ctx.Err() != nil && end.After(time.Now().Add(farewell)) {
			end = time.Now().Add(farewell)
		}
		if time.Now().After(end) {
			return errUnconfirmed
		}
		<-tick.C
	}
}

// unconfirmed counts the bytes that the socket still holds. The end of the
// connection empties it too, which the pending error tells apart.
func (s *Sender) unconfirmed() (int, error) {
	raw, err := s.tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	left, state := 0, uint8(0)
	var failed error
	err = raw.Control(func(fd uintptr) {
		var info *unix.TCPInfo
		if left, failed = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); failed == nil {
			if info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); failed == nil {
				state = info.State
			}
		}
	})
	const established = 1
	if err = errors.Join(err, failed); err == nil && state != established {
		err = net.ErrClosed
	}
	return left, err
}

// Close ends the connection.
func (s *Sender) Close() error { return s.conn.Close() }
