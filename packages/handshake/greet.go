package handshake

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/daemon"
	"micromirror/packages/ktls"
	"micromirror/packages/tlsrecord"
)

// greet brings a connection from its first byte to an established session, or
// closes it.
func (s *Server) greet(ctx context.Context, conn *net.TCPConn, peer netip.Addr, client Client) {
	done := func() { conn.Close(); client.Done() }
	// At the end of ctx whoever is not through is not waited for.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	tap := tlsrecord.NewTap(conn)
	hello, err := tap.Hello()
	switch {
	case err != nil:
		s.counters.failed.Add(1)
		done()
		return
	case hello[0] != tlsrecord.TypeHandshake:
		s.counters.failed.Add(1)
		answerPlain(conn, hello)
		done()
		return
	case !client.Handshake(time.Now()):
		s.counters.refused.Add(1)
		done()
		return
	}
	wait, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	place := s.running.begin(wait, peer, func() { _ = conn.SetDeadline(time.Now()) })
	if place == nil {
		s.counters.refused.Add(1)
		done()
		return
	}
	secured := tls.Server(tap, tap.Config(s.tls))
	err = secured.Handshake() // the deadline bounds it
	s.running.end(place)
	if err != nil {
		s.counters.failed.Add(1)
		s.config.Log.Debug("handshake", "peer", peer, "err", err)
		done()
		return
	}
	s.counters.handshake(secured.ConnectionState().DidResume)
	if !stop() {
		done()
		return
	}
	s.passOn(conn, tap, secured, peer, client)
}

// passOn gives the established connection away: best sealed by the kernel, else
// by an event loop, else, when its session cannot be taken, by crypto/tls.
func (s *Server) passOn(conn *net.TCPConn, tap *tlsrecord.Tap, secured *tls.Conn, peer netip.Addr, client Client) {
	state := secured.ConnectionState()
	session, err := tap.Take(state.Version, state.CipherSuite)
	if err == nil {
		err = s.give(conn, session, peer, client)
	}
	if err == nil {
		return
	}
	s.config.Log.Debug("stays with crypto/tls", "peer", peer, "err", err)
	if err := secured.SetDeadline(time.Time{}); err != nil {
		secured.Close()
		client.Done()
		return
	}
	s.counters.kept.Add(1)
	s.config.Unusual(secured, client)
}

// give takes the socket out of Go's poller and gives it to an event loop. The
// kernel is asked last: what it has taken cannot stay here.
func (s *Server) give(conn *net.TCPConn, session *tlsrecord.Session, peer netip.Addr, client Client) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	fd, dupErr := -1, error(nil)
	err = raw.Control(func(have uintptr) { fd, dupErr = unix.FcntlInt(have, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil || dupErr != nil {
		return fmt.Errorf("duplicate descriptor: %w", firstOf(err, dupErr))
	}
	// The descriptor must not be closed while Go's poller watches the socket by it.
	conn.Close()
	offloaded := s.offload(fd, session)
	if !s.config.Enter(Arrival{FD: fd, Peer: peer, Client: client, Session: session}) {
		unix.Close(fd)
		client.Done()
		return nil
	}
	if offloaded {
		s.counters.offloaded.Add(1)
	} else {
		s.counters.sealed.Add(1)
	}
	return nil
}

// offload asks the kernel to seal. The first success and the first refusal are told
// to people; a client that has gone already makes the kernel refuse as well, and
// it is not asked for every cipher.
func (s *Server) offload(fd int, session *tlsrecord.Session) bool {
	if !s.config.Kernel {
		return false
	}
	err := session.Offload(fd)
	if err != nil {
		if !errors.Is(err, ktls.ErrCipher) && !errors.Is(err, unix.ENOTCONN) {
			s.refusal.Do(func() { s.config.Log.Warn("the kernel does not seal what https sends", "err", err) })
		}
		return false
	}
	s.told.Do(func() { daemon.Notice(s.config.Log, "the kernel seals what https sends") })
	return true
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// plainAnswer is what somebody gets who speaks plain HTTP here.
const plainAnswer = "This port speaks HTTPS only: use https:// here, or http:// on the usual port.\n"

// answerPlain tells a client that does not speak TLS what this port is. What it
// has sent is read off first, so that closing does not take the answer back.
func answerPlain(conn *net.TCPConn, hello []byte) {
	if hello[0] < 'A' || hello[0] > 'Z' {
		return // no HTTP either
	}
	if conn.SetDeadline(time.Now().Add(time.Second)) != nil {
		return
	}
	_, err := fmt.Fprintf(conn, "HTTP/1.1 400 Bad Request\r\nServer: micromirror\r\nContent-Type: text/plain\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n\r\n%s", len(plainAnswer), plainAnswer)
	if err == nil && conn.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, conn, 64<<10) // until the client has read it, or for a second
	}
}
