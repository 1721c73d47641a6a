// Package handshake is the door for TLS: it takes connections on the HTTPS port,
// makes the handshake with crypto/tls, and passes the session on (see package
// tlsrecord), to the kernel as well where the kernel seals (package ktls).
//
// Promise: TLS 1.3 and 1.2 with AEAD suites only, AES-GCM first, HTTP/1.1 by ALPN,
// resumption by tickets whose keys live in memory for two days at most, no
// renegotiation, no early data. The port is closed until there is a certificate;
// from then on it answers with the latest one, expired or not. Without it nothing
// else changes: HTTP knows nothing of this package.
//
// What a client can hold up is bounded. Until its first message is whole, a
// connection costs one small goroutine and no cryptography; the handshakes that
// have begun are bounded for the node and for each network (MaxRunning,
// MaxPerNetwork), and how often a network may begin one is up to Client. All of
// it has to be over within Timeout, or within two seconds when all places are taken
// and others wait. The session then goes to an event loop and the
// goroutine ends. A client that speaks plain HTTP is told so in plain HTTP.
//
// The package opens the port that it is given, writes no file and keeps no state.
package handshake

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"micromirror/packages/tlsrecord"
)

// Client is the account of a connection that was let in.
type Client interface {
	// Handshake is asked before a handshake begins and says whether the client's
	// network may.
	Handshake(now time.Time) bool
	Done()
}

// Config is what a server needs.
type Config struct {
	// Certificate returns the one in use, not nil once Ready is closed.
	Certificate func() *tls.Certificate
	Ready       <-chan struct{}
	// Admit lets a connection in, or not: nil.
	Admit func(peer netip.Addr, now time.Time) Client
	// Enter takes a session over, with its socket; false leaves it here.
	Enter func(Arrival) bool
	// Unusual takes a connection over that stays with crypto/tls. Its Close calls
	// Client.Done.
	Unusual func(conn net.Conn, client Client)
	// Kernel says whether the kernel is asked to seal.
	Kernel  bool
	Timeout time.Duration
	Log     *slog.Logger
}

// Arrival is an established connection.
type Arrival struct {
	FD      int // non-blocking
	Peer    netip.Addr
	Client  Client
	Session *tlsrecord.Session
}

// Bounds of the handshakes under way.
const (
	MaxRunning    = 512
	MaxPerNetwork = 64
)

// Server makes handshakes.
type Server struct {
	config   Config
	tls      *tls.Config
	running  *share
	counters counters
	told     sync.Once // that the kernel seals
	refusal  sync.Once // that it does not
	wg       sync.WaitGroup
}

// New makes a server.
func New(c Config) *Server {
	s := &Server{config: c, running: newShare(MaxRunning, MaxPerNetwork)}
	s.tls = &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.Certificate(), nil },
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
	return s
}

// Serve takes connections on the port until ctx ends and all handshakes are over.
func (s *Server) Serve(ctx context.Context, p *Port) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.config.Ready:
	}
	l, err := p.listen()
	if err != nil {
		return err
	}
	keys := s.renew(nil) // before the first ticket is made with other keys
	s.wg.Go(func() { s.rotate(ctx, keys) })
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	err = s.accept(ctx, l)
	s.wg.Wait()
	return err
}

// accept takes connections. Without descriptors it waits a moment: the event
// loops answer for that.
func (s *Server) accept(ctx context.Context, l *net.TCPListener) error {
	for {
		conn, err := l.AcceptTCP()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			var temporary net.Error
			if !errors.As(err, &temporary) || errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accept: %w", err)
			}
			s.counters.refused.Add(1)
			if !pause(ctx, 100*time.Millisecond) {
				return nil
			}
			continue
		}
		s.take(ctx, conn)
	}
}

// take begins with a connection.
func (s *Server) take(ctx context.Context, conn *net.TCPConn) {
	now := time.Now()
	peer := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	client := s.config.Admit(peer, now)
	if client == nil || conn.SetDeadline(now.Add(s.config.Timeout)) != nil {
		s.counters.refused.Add(1)
		conn.Close()
		if client != nil {
			client.Done()
		}
		return
	}
	s.wg.Go(func() { s.greet(ctx, conn, peer, client) })
}

// ticketLife is how long a ticket key makes tickets; they are good for twice as
// long.
const ticketLife = 24 * time.Hour

// rotate renews the ticket keys until ctx ends.
func (s *Server) rotate(ctx context.Context, keys [][32]byte) {
	for pause(ctx, ticketLife) {
		keys = s.renew(keys)
	}
}

// renew puts a fresh ticket key before the last one, which stays good for tickets
// that were made with it.
func (s *Server) renew(keys [][32]byte) [][32]byte {
	var fresh [32]byte
	rand.Read(fresh[:]) // never fails, by its documentation
	keys = append([][32]byte{fresh}, keys[:min(len(keys), 1)]...)
	s.tls.SetSessionTicketKeys(keys)
	return keys
}

// pause waits, or reports false because ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
