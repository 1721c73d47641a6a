package http

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Aims over TLS: small answers, and large ones, where sealing is most of the work.
const (
	aimSmall = 0.9
	aimLarge = 0.7
)

// secureWorks is what is measured over TLS. wrk speaks TLS 1.3 with AES-128-GCM to
// both servers.
func secureWorks() []work {
	return []work{
		{name: "4 KiB", target: "/4k.bin", clients: 64, aim: aimSmall},
		{name: "64 KiB", target: "/64k.bin", clients: 64, aim: aimSmall},
		{name: "1 MiB", target: "/1m.bin", clients: 32, aim: aimLarge},
		{name: "256 MiB", target: "/256m.bin", clients: 4, perGB: true, aim: aimLarge},
		{name: "304", target: "/4k.bin", headers: []string{"If-Modified-Since: " + modTime.Format(httpTime)}, clients: 64, aim: aimSmall},
		{name: "full handshakes, 4 KiB each", target: "/4k.bin", shakes: true, clients: 8, aim: aimSmall},
		{name: "resumed handshakes, 4 KiB each", target: "/4k.bin", shakes: true, resume: true, clients: 8, aim: aimSmall},
	}
}

// nginxTLS are the further lines of nginx's server, tuned: the cheaper AES first
// as on our side, sessions resumed.
const nginxTLS = `ssl_certificate ACME; ssl_certificate_key ACME; ssl_protocols TLSv1.2 TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384; ssl_prefer_server_ciphers on;
    ssl_session_cache shared:SSL:20m; ssl_session_timeout 1h; ssl_session_tickets on;`

// shaker is what the clients that do handshakes use. The key exchange is the one
// that both servers know.
func shaker(resume bool) *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true, ServerName: "bench.example", CurvePreferences: []tls.CurveID{tls.X25519}}
	if resume {
		c.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	}
	return c
}

// shake makes connections, asks one thing on each, and counts them.
func shake(ctx context.Context, s *server, w *work, length time.Duration) (float64, error) {
	end := time.Now().Add(length)
	var done atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, w.clients)
	for range w.clients {
		wg.Go(func() {
			config := shaker(w.resume)
			var err error
			for n := 0; err == nil && time.Now().Before(end); n++ {
				err = s.shakeOnce(ctx, config, w, n > 0)
				done.Add(1)
			}
			errs <- err
		})
	}
	wg.Wait()
	for range w.clients {
		if err := <-errs; err != nil {
			return 0, fmt.Errorf("handshake: %w", err)
		}
	}
	return float64(done.Load()), nil
}

func (s *server) shakeOnce(ctx context.Context, config *tls.Config, w *work, known bool) error {
	addr := s.addr()
	d := tls.Dialer{Config: config}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", w.target, addr); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	if got := conn.(*tls.Conn).ConnectionState().DidResume; w.resume && known && !got {
		return errors.New("session was not resumed")
	}
	return nil
}

// addr is where the server listens.
func (s *server) addr() string {
	_, addr, _ := strings.Cut(s.url, "://")
	return addr
}

// secured brings a client's connection under TLS where the server speaks it.
func (s *server) secured(conn net.Conn) net.Conn {
	if strings.HasPrefix(s.url, "https") {
		return tls.Client(conn, shaker(false))
	}
	return conn
}
