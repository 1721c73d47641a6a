// Package manage is the management channel: maintainers whose keys the fleet file
// names run fixed commands on a node over SSH.
//
// Promise: there is no shell, no terminal, no forwarding and no file transfer; a
// connection runs one command of a fixed list, by its exact name, and ends. Only
// public keys count, and only connections from the named prefixes are heard.
// Connections are limited for each address and in number, a handshake and a
// command by time, what a command line may hold by size; a connection beyond that
// is closed unheard. Whoever passed or failed is written to the audit, with
// address, key and command, before the command runs and after.
//
// The host key is derived from the node's own key, which the desk makes when it
// writes the disk: so the desk knows it before the node first answers, and it
// comes back with the node's identity.
//
// Box's commands do nothing themselves: they read what the daemons publish, and
// ask the daemon that owns the matter.
//
// Files read: <run>, the projects' and the updater's state, logd's ring, /proc.
// Files written: <run>/managed/drained. Sockets: <run>/syncd/trigger,
// <run>/updated/control. Port: TCP, as the fleet file says.
//
// Failure: a command that fails answers its error on the error stream and exit
// status 1. One that panics does the same; the server goes on.
package manage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/time/rate"
)

// Bounds of the server.
const (
	handshakeLimit = 10 * time.Second
	commandLimit   = 10 * time.Minute
	atOnce         = 8
	maxLine        = 256 // bytes of a command line
	maxAddresses   = 1024
	burst          = 5 // connections of an address; then one in two seconds
)

// Command answers on w; its error makes the exit status 1.
type Command func(ctx context.Context, args []string, w io.Writer) error

// Event is a line of the audit.
type Event struct {
	Time    time.Time
	Address string
	Key     string // fingerprint, empty before somebody has proved to hold it
	Command string
	Result  string // refused, begun, done, or the error
}

// Server answers maintainers.
type Server struct {
	Host     ssh.Signer
	Keys     []ssh.PublicKey // who may
	From     []netip.Prefix  // and from where
	Commands map[string]Command
	Audit    func(Event)
	Now      func() time.Time

	mu     sync.Mutex
	seen   map[netip.Addr]*rate.Limiter
	active chan struct{}
}

// Serve answers on l until ctx ends, then closes it and waits for the commands
// that run.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.seen, s.active = map[netip.Addr]*rate.Limiter{}, make(chan struct{}, atOnce)
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var running sync.WaitGroup
	defer running.Wait()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("management channel: %w", err)
		}
		if !s.admit(c) {
			c.Close()
			continue
		}
		running.Go(func() {
			defer func() { <-s.active }()
			s.connection(ctx, c)
		})
	}
}

// admit bounds connections for each address and altogether.
func (s *Server) admit(c net.Conn) bool {
	addr, own := addressOf(c)
	if !slices.ContainsFunc(s.From, func(p netip.Prefix) bool { return p.Contains(own) }) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	limit, ok := s.seen[addr]
	if !ok {
		if len(s.seen) >= maxAddresses {
			clear(s.seen)
		}
		limit = rate.NewLimiter(rate.Every(2*time.Second), burst)
		s.seen[addr] = limit
	}
	if !limit.AllowN(s.Now(), 1) {
		return false
	}
	select {
	case s.active <- struct{}{}:
		return true
	default:
		return false
	}
}

// addressOf is what is limited, an IPv4 address or the /64 of an IPv6 one, and
// the address itself.
func addressOf(c net.Conn) (limited, own netip.Addr) {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}, netip.Addr{}
	}
	own = ap.Addr().Unmap().WithZone("")
	if own.Is6() {
		return netip.PrefixFrom(own, 64).Masked().Addr(), own
	}
	return own, own
}

func (s *Server) config() *ssh.ServerConfig {
	c := &ssh.ServerConfig{MaxAuthTries: 3, ServerVersion: "SSH-2.0-micromirror"}
	c.PublicKeyCallback = func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		ok := slices.ContainsFunc(s.Keys, func(k ssh.PublicKey) bool { return string(k.Marshal()) == string(key.Marshal()) })
		if !ok {
			return nil, errors.New("unknown key")
		}
		return &ssh.Permissions{Extensions: map[string]string{"key": ssh.FingerprintSHA256(key)}}, nil
	}
	c.AddHostKey(s.Host)
	return c
}

func (s *Server) connection(ctx context.Context, c net.Conn) {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	e := Event{Address: c.RemoteAddr().String()}
	if err := c.SetDeadline(time.Now().Add(handshakeLimit)); err != nil {
		return // the connection is gone
	}
	conn, channels, requests, err := ssh.NewServerConn(c, s.config())
	if err != nil {
		s.note(e, "refused: "+err.Error())
		return
	}
	defer conn.Close()
	e.Key = conn.Permissions.Extensions["key"]
	go ssh.DiscardRequests(requests)
	for n := range channels {
		if n.ChannelType() != "session" {
			s.note(e, "refused: "+n.ChannelType())
			if n.Reject(ssh.Prohibited, "commands only") != nil {
				return
			}
			continue
		}
		if err := c.SetDeadline(time.Now().Add(commandLimit)); err != nil {
			return
		}
		s.session(ctx, n, e)
		return
	}
}

func (s *Server) note(e Event, result string) {
	e.Time, e.Result = s.Now(), result
	s.Audit(e)
}

// session waits for the one command of the connection.
func (s *Server) session(ctx context.Context, n ssh.NewChannel, e Event) {
	ch, requests, err := n.Accept()
	if err != nil {
		return // the client is gone
	}
	defer ch.Close()
	for r := range requests {
		if r.Type != "exec" {
			s.note(e, "refused: "+r.Type)
			if r.Reply(false, nil) != nil {
				return
			}
			continue
		}
		var line struct{ Text string }
		if len(r.Payload) > maxLine+4 || ssh.Unmarshal(r.Payload, &line) != nil || r.Reply(true, nil) != nil {
			s.note(e, "refused: bad command line")
			return
		}
		go ssh.DiscardRequests(requests)
		s.exec(ctx, ch, line.Text, e)
		return
	}
}

// exec runs a command and answers its exit status.
func (s *Server) exec(ctx context.Context, ch ssh.Channel, line string, e Event) {
	e.Command = fmt.Sprintf("%q", line)
	s.note(e, "begun")
	status, result := uint32(0), "done"
	if err := s.run(ctx, line, ch); err != nil {
		status, result = 1, err.Error()
		fmt.Fprintln(ch.Stderr(), result) // a client that is gone does not hear it
	}
	s.note(e, result)
	if _, err := ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status})); err != nil {
		return // likewise
	}
}

func (s *Server) run(ctx context.Context, line string, w io.Writer) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	words := strings.Fields(line)
	if len(words) == 0 {
		return errors.New("no command")
	}
	command, ok := s.Commands[words[0]]
	if !ok {
		return fmt.Errorf("%q is no command", words[0])
	}
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	return command(ctx, words[1:], w)
}
