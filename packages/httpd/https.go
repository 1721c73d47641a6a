package httpd

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"micromirror/packages/certificate"
	"micromirror/packages/daemon"
	"micromirror/packages/handshake"
	"micromirror/packages/httpd/eventloop"
	"micromirror/packages/httpd/limit"
	"micromirror/packages/httpd/metrics"
	"micromirror/packages/tlsrecord"
)

// HTTPS is what a server needs to speak TLS as well.
type HTTPS struct {
	Port   *handshake.Port
	Keeper *certificate.Keeper
	Kernel bool // seals what is sent, if it can
}

// handshakeTimeout is for the whole handshake.
const handshakeTimeout = 10 * time.Second

// secure is the TLS side of a running server.
type secure struct {
	server *handshake.Server
	ended  chan struct{}
	stop   func()
}

// startHTTPS begins to serve by TLS. What goes wrong there is logged and is
// nothing to HTTP.
func startHTTPS(ctx context.Context, c *Config, door *eventloop.Door, unusual *handoff) *secure {
	if c.HTTPS == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &secure{stop: cancel, ended: make(chan struct{})}
	s.server = handshake.New(handshake.Config{
		Certificate: c.HTTPS.Keeper.Current, Ready: c.HTTPS.Keeper.Ready(), Kernel: c.HTTPS.Kernel,
		Admit: admitTLS(c.Limits),
		Enter: func(a handshake.Arrival) bool {
			return door.Enter(eventloop.Arrival{FD: a.FD, Peer: a.Peer, Client: a.Client.(*limit.Client), Session: a.Session})
		},
		Unusual: keepStandard(unusual),
		Timeout: handshakeTimeout, Log: c.Log,
	})
	go func() {
		defer close(s.ended)
		go announce(ctx, c.HTTPS.Keeper, c.Log)
		if err := s.server.Serve(ctx, c.HTTPS.Port); err != nil {
			c.Log.Error("https", "err", err)
		}
	}()
	return s
}

// announce tells the console when HTTPS begins.
func announce(ctx context.Context, k *certificate.Keeper, log *slog.Logger) {
	select {
	case <-ctx.Done():
	case <-k.Ready():
		daemon.Notice(log, "https with a certificate for "+strings.Join(k.Current().Leaf.DNSNames, " "))
	}
}

// end stops taking connections and waits until handshakes are over.
func (s *secure) end() {
	if s != nil {
		s.stop()
		<-s.ended
	}
}

// maxStandard bounds the connections that stay with crypto/tls: each costs as much
// as a hundred others, and clients that send their hello in pieces get there at will.
const maxStandard = 256

// keepStandard gives connections that stay with crypto/tls to net/http.
func keepStandard(unusual *handoff) func(net.Conn, handshake.Client) {
	var open atomic.Int64
	return func(conn net.Conn, client handshake.Client) {
		done := sync.OnceFunc(func() {
			open.Add(-1)
			client.Done()
		})
		if open.Add(1) > maxStandard {
			done()
			conn.Close()
			return
		}
		unusual.give(&leased{conn, done}, client.(*limit.Client))
	}
}

func admitTLS(t *limit.Table) func(netip.Addr, time.Time) handshake.Client {
	return func(peer netip.Addr, now time.Time) handshake.Client {
		client, status := t.Admit(peer, now)
		if status != 0 {
			return nil
		}
		return client
	}
}

// leased is a connection that gives its account back when it is closed.
type leased struct {
	net.Conn
	done func()
}

func (l *leased) Close() error {
	l.done()
	return l.Conn.Close()
}

// CloseWrite tells the client that nothing follows.
func (l *leased) CloseWrite() error { return l.Conn.(*tls.Conn).CloseWrite() }

// securedBy tells the handler about TLS, which net/http sees only in a connection
// of crypto/tls that nothing is wrapped around.
func securedBy(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a := clientOf(r); a != nil {
			r.TLS = stateOf(a.Conn)
		}
		next.ServeHTTP(w, r)
	})
}

func stateOf(c net.Conn) *tls.ConnectionState {
	switch c := c.(type) {
	case *leased:
		state := c.Conn.(*tls.Conn).ConnectionState()
		return &state
	case interface{ Session() *tlsrecord.Session }:
		if s := c.Session(); s != nil {
			return &tls.ConnectionState{Version: s.Version, HandshakeComplete: true}
		}
	}
	return nil
}

// tlsGauges are the figures of the TLS side.
func (s *secure) gauges() []metrics.Gauge {
	if s == nil {
		return nil
	}
	stats := s.server.Stats()
	var out []metrics.Gauge
	for _, g := range []struct {
		name, help, label, value string
		count                    int64
	}{
		{"micromirror_tls_handshakes", "Handshakes since the start.", "kind", "full", stats.Full},
		{"micromirror_tls_handshakes", "", "kind", "resumed", stats.Resumed},
		{"micromirror_tls_handshakes", "", "kind", "failed", stats.Failed},
		{"micromirror_tls_handshakes", "", "kind", "refused", stats.Refused},
		{"micromirror_tls_connections", "Established connections since the start, by who seals.", "by", "kernel", stats.Offloaded},
		{"micromirror_tls_connections", "", "by", "loop", stats.Sealed},
		{"micromirror_tls_connections", "", "by", "standard", stats.KeptByStandard},
	} {
		out = append(out, metrics.Gauge{Name: g.name, Help: g.help, Labels: []string{g.label, g.value}, Value: float64(g.count)})
	}
	return out
}

// certificateGauges say how the certificate is.
func certificateGauges(s certificate.Status, now time.Time) []metrics.Gauge {
	if s.State == certificate.Off {
		return nil
	}
	trouble := 0.0
	if s.Words(now) != "" {
		trouble = 1
	}
	out := []metrics.Gauge{{Name: "micromirror_certificate_trouble", Help: "1 if there is no valid certificate or its renewal fails.",
		Labels: []string{"reason", s.Words(now)}, Value: trouble}}
	if !s.NotAfter.IsZero() {
		out = append(out, metrics.Gauge{Name: "micromirror_certificate_seconds", Help: "Time until the certificate expires.", Value: s.NotAfter.Sub(now).Seconds()})
	}
	return out
}

// maxToken bounds the name and the content of a challenge.
const maxToken = 1 << 10

// challenges answers for the tokens that acmed puts into a directory, one file
// each. It reads from memory (tmpfs), so that nobody waits.
func challenges(dir string) func(token string) []byte {
	return func(token string) []byte {
		const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
		if token == "" || len(token) > 255 || strings.Trim(token, letters) != "" {
			return nil
		}
		data, err := os.ReadFile(filepath.Join(dir, token))
		if err != nil || len(data) > maxToken {
			return nil
		}
		return data
	}
}
