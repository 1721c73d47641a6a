// Package httpd is the node's file server: the mirror tree over HTTP/1.1, with
// listings, a front page, and the node's own state.
//
// Promise: what answer.Site decides is what every client gets, over IPv4 and
// IPv6, whatever Host it names and whether or not anything else on the node
// works. HTTP is never redirected to HTTPS. A client that does not move is cut
// off, a slow one that moves may finish. At the end of ctx no new connection is
// accepted and running downloads get Config.Grace to finish.
//
// Port 80 (TCP). Reads /perm/mirror, /perm/state/syncd, /run/syncd and
// /run/health.json; a missing one costs only what depends on it. URLs of its
// own, beside the tree: / (front page), /status.json (see package status),
// /healthz (200 or 503 with the health report), /robots.txt, /favicon.ico.
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
)

// Config is what a server needs.
type Config struct {
	Site  *answer.Site
	Grace time.Duration // for running downloads at the end
	Log   *slog.Logger
}

// Limits on what one connection may hold up.
const (
	headerTimeout = 15 * time.Second
	idleTimeout   = 65 * time.Second
	stallTimeout  = 2 * time.Minute // for one chunk of a body
	maxHeader     = 16 << 10
	maxTarget     = 8 << 10
)

// Serve answers connections until ctx ends, then waits for running downloads.
func Serve(ctx context.Context, l net.Listener, c Config) error {
	server := &http.Server{
		Handler:                      &handler{c.Site},
		ReadHeaderTimeout:            headerTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeader,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve http: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.Grace)
	defer cancel()
	if err := server.Shutdown(grace); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop http: %w", err)
	}
	return server.Close()
}
