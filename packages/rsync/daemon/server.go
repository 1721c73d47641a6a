package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"micromirror/packages/rsync/sender"
)

// spareConns are connections beyond the limit that are still told so; more are
// closed without a word.
const spareConns = 64

// Server serves modules. Make one with New.
type Server struct {
	cfg     Config
	shares  []*share
	slots   slots
	open    slots
	buffers sender.Buffers
	memory  *sender.Memory
}

// New checks a configuration and makes a server of it.
func New(cfg Config) (*Server, error) {
	cfg.setDefaults()
	s := &Server{cfg: cfg, memory: sender.NewMemory(cfg.Memory)}
	seen := map[string]bool{}
	for i := range cfg.Modules {
		m := &cfg.Modules[i]
		exclude, err := m.excludes()
		if err != nil {
			return nil, err
		}
		if seen[m.Name] {
			return nil, fmt.Errorf("module %s is defined twice", m.Name)
		}
		seen[m.Name] = true
		s.shares = append(s.shares, &share{Module: m, exclude: exclude})
	}
	return s, nil
}

// Warm reads the trees of all modules that have a generation, one after the
// other, so that the first clients do not wait.
func (s *Server) Warm(ctx context.Context) {
	for _, sh := range s.shares {
		if sh.Generation == nil || ctx.Err() != nil {
			continue
		}
		start := time.Now()
		o, err := sh.get(ctx, time.Hour)
		if errors.Is(err, fs.ErrNotExist) {
			s.cfg.Log.Info("module not there yet", "module", sh.Name)
			continue
		}
		if err != nil {
			s.cfg.Log.Warn("module not readable", "module", sh.Name, "err", err)
			continue
		}
		s.cfg.Log.Info("module read", "module", sh.Name, "entries", o.tree.Len(), "bytes", o.tree.Size(),
			"seconds", time.Since(start).Seconds())
	}
}

// Memory is about how many bytes the lists take. While one is read anew, it is
// there twice.
func (s *Server) Memory() int64 {
	var sum int64
	for _, sh := range s.shares {
		sh.mu.Lock()
		if sh.current != nil {
			sum += sh.current.tree.Memory()
		}
		sh.mu.Unlock()
	}
	return sum
}

// Serve accepts connections from all listeners until ctx ends, gives the
// transfers under way their grace, and returns when all have ended. The
// listeners are closed.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	conns, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	var accepting, serving sync.WaitGroup
	errs := make(chan error, len(listeners))
	for _, l := range listeners {
		accepting.Go(func() { errs <- s.accept(ctx, conns, l, &serving) })
	}
	defer context.AfterFunc(ctx, func() {
		for _, l := range listeners {
			l.Close()
		}
	})()
	accepting.Wait()
	ended := make(chan struct{})
	go func() { serving.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(s.cfg.Grace):
		cut(errStopping)
		<-ended
	}
	close(errs)
	var failed []error
	for err := range errs {
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// accept serves one listener.
func (s *Server) accept(ctx, conns context.Context, l net.Listener, serving *sync.WaitGroup) error {
	defer l.Close()
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept on %s: %w", l.Addr(), err)
		case err != nil:
			// Out of descriptors or memory: wait for connections to end.
			s.cfg.Log.Warn("accept failed", "err", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		serving.Go(func() { s.ServeConn(conns, c) })
	}
}

// ServeConn serves one connection and closes it.
func (s *Server) ServeConn(ctx context.Context, c net.Conn) {
	defer c.Close()
	addr := remoteAddr(c)
	if ok, _ := s.open.take(addr, s.cfg.MaxConns+spareConns, s.cfg.MaxPerPrefix+spareConns/4); !ok {
		return
	}
	defer s.open.release(addr)
	cn := newConn(ctx, s, c, addr)
	defer cn.stop()
	cn.serve()
	cn.linger()
}

// remoteAddr is the client's address, IPv4 as such also on an IPv6 socket.
func remoteAddr(c net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.IPv6Unspecified()
	}
	return ap.Addr().Unmap().WithZone("")
}

// share finds a module by name.
func (s *Server) share(name string) *share {
	for _, sh := range s.shares {
		if sh.Name == name {
			return sh
		}
	}
	return nil
}

// listing is the list of modules as clients show it.
func (s *Server) listing() string {
	var b strings.Builder
	for _, sh := range s.shares {
		if !sh.Hidden {
			fmt.Fprintf(&b, "%-15s\t%s\n", sh.Name, sh.Comment)
		}
	}
	return b.String()
}
