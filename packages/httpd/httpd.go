// Package httpd is the node's file server: the mirror tree over HTTP/1.1, with
// listings, a front page, and the node's own state.
//
// Promise: what answer.Site decides is what every client gets, over IPv4 and
// IPv6, whatever Host it names and whether or not anything else on the node
// works. HTTP is never redirected to HTTPS. A client that does not move is cut
// off, a slow one that moves may finish. At the end of ctx no new connection is
// accepted and running downloads get Config.Grace to finish.
//
// Ordinary requests are served by package eventloop; it hands what is unusual to
// net/http, which gets the same answers from the same site. Package limit bounds
// what one network may take.
//
// Over TLS (see package handshake) the same is served in the same way, once there
// is a certificate; without one, or with a bad one, HTTP serves on.
//
// Ports 80 and 443 (TCP). Reads /perm/mirror, /perm/state/syncd, /run/syncd,
// /perm/acme, /run/acmed and /run/health.json; a missing one costs only what depends on it. Writes the
// access log and the bytes served below /perm/state/httpd. URLs of its own, beside the tree: / (front
// page), /status.json (see package status), /healthz (200 or 503 with the health
// report), /metrics (Prometheus, for the prefixes of the fleet's firewall.allow), /robots.txt,
// /favicon.ico, and below /.well-known/acme-challenge/ what acmed wants answered.
package httpd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"micromirror/packages/httpd/answer"
	"micromirror/packages/httpd/eventloop"
	"micromirror/packages/httpd/limit"
)

// Config is what a server needs.
type Config struct {
	Site    *answer.Site
	Journal *Journal      // where requests are recorded
	Limits  *limit.Table  // whom to let in
	Grace   time.Duration // for running downloads at the end
	Log     *slog.Logger
	HTTPS   *HTTPS // nil: HTTP only
}

// Limits on what one connection may hold up.
const (
	headerTimeout = 15 * time.Second
	idleTimeout   = 65 * time.Second
	stallTimeout  = 2 * time.Minute // without a byte, or for one chunk of net/http's
	maxHeader     = 16 << 10
	maxTarget     = 8 << 10
)

// Serve answers connections until ctx ends, then waits for running downloads.
func Serve(ctx context.Context, l *net.TCPListener, c Config) error {
	server := &http.Server{
		Handler:                      securedBy(&handler{c.Site, c.Journal}),
		ConnContext:                  withClient,
		ConnState:                    idle,
		ReadHeaderTimeout:            headerTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeader,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
	unusual, door := newHandoff(l.Addr(), c.Journal.refused), &eventloop.Door{}
	secure := startHTTPS(ctx, &c, door, unusual)
	c.Site.Metrics = c.Journal.metrics(c.Limits, c.Site, secure)
	served := make(chan error, 1)
	go func() { served <- server.Serve(unusual) }()
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { ended <- shutdown(server, c.Grace) })
	err := eventloop.Serve(ctx, l, eventloop.Config{
		Site: c.Site, Cache: c.Site.Cache,
		Unusual: unusual.give,
		Admit:   admit(c.Limits),
		Door:    door,
		Record:  c.Journal.append, Flush: c.Journal.log.Write, Refused: c.Journal.turnedAway,
		Loops:    loops(),
		Timeouts: eventloop.Timeouts{Head: headerTimeout, Idle: idleTimeout, Stall: stallTimeout},
		Grace:    c.Grace,
	})
	secure.end()
	if stop() { // the loops ended by themselves
		ended <- server.Close()
	}
	err = errors.Join(err, <-ended)
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	if err = errors.Join(err, c.Journal.close()); err != nil {
		return fmt.Errorf("serve http: %w", err)
	}
	return nil
}

// shutdown lets running requests end within grace.
func shutdown(server *http.Server, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	}
	return err
}
