package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"micromirror/packages/child"
)

// Server is a running upstream.
type Server struct {
	listener net.Listener
	config   string
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

// Serve offers the trees below dir by rsync on addr, for example "127.0.0.1:0" for
// any free port of loopback, until ctx ends or the server is closed.
func Serve(ctx context.Context, dir, addr string) (*Server, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("serve demo upstream: %w", err)
	}
	rsync, err := exec.LookPath("rsync")
	if err != nil {
		return nil, fmt.Errorf("serve demo upstream: %w", err)
	}
	s := &Server{config: filepath.Join(dir, "rsyncd.conf")}
	if err := os.WriteFile(s.config, []byte(rsyncdConf(dir, os.Getuid())), 0o644); err != nil {
		return nil, fmt.Errorf("serve demo upstream: %w", err)
	}
	if s.listener, err = net.Listen("tcp", addr); err != nil {
		return nil, fmt.Errorf("serve demo upstream: %w", err)
	}
	ctx, s.cancel = context.WithCancel(ctx)
	s.wg.Go(func() { <-ctx.Done(); s.listener.Close() })
	s.wg.Go(func() { s.accept(ctx, rsync) })
	return s, nil
}

// Port is the port that the server listens on.
func (s *Server) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// Addr is host:port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close ends the server and the transfers that are under way.
func (s *Server) Close() {
	s.cancel()
	s.wg.Wait()
}

// accept hands each connection to an rsync daemon of its own, in the way inetd
// does: it finds the socket as its standard input.
func (s *Server) accept(ctx context.Context, rsync string) {
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // that client is gone; the next may do better
		}
		s.wg.Go(func() { s.serve(ctx, rsync, conn.(*net.TCPConn)) })
	}
}

func (s *Server) serve(ctx context.Context, rsync string, conn *net.TCPConn) {
	f, err := conn.File() // a copy
	conn.Close()
	if err != nil {
		return // the client sees the end of the connection
	}
	cmd := exec.Command(rsync, "--daemon", "--config="+s.config)
	cmd.Stdin, cmd.Stdout = f, f
	p, err := child.Start(cmd)
	f.Close()
	if err != nil {
		return
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Kill()
	}
}

// rsyncdConf is the daemon's configuration. Root must be told to stay root, or the
// files without o+r could not be offered.
func rsyncdConf(dir string, uid int) string {
	var b strings.Builder
	b.WriteString("use chroot = no\nmunge symlinks = no\nreverse lookup = no\nread only = yes\nlist = yes\n")
	fmt.Fprintf(&b, "log file = %s\n", filepath.Join(dir, "rsyncd.log"))
	if uid == 0 {
		b.WriteString("uid = 0\ngid = 0\n")
	}
	for _, module := range Modules() {
		fmt.Fprintf(&b, "\n[%s]\npath = %s\ncomment = Micro Mirror demo\n", module, Tree(dir, module))
	}
	return b.String()
}
