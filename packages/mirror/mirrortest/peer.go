package mirrortest

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// Peer is rsync's own daemon: each connection gets one on standard input, as
// inetd would do it.
type Peer struct {
	Addr string
	// Limit, if positive, cuts every connection after the server has sent that
	// many bytes.
	Limit atomic.Int64
	// Stall, if positive, lets every connection fall silent after that many.
	Stall atomic.Int64
	// Cut ends every connection as soon as the server says something more, Frozen
	// lets all fall silent; both also strike connections that are there.
	Cut, Frozen atomic.Bool
	// Connections counts them.
	Connections atomic.Int64
}

// StartPeer serves the module "m" at dir; settings go into its section.
func StartPeer(t testing.TB, dir string, settings ...string) *Peer {
	t.Helper()
	tmp := t.TempDir()
	config := filepath.Join(tmp, "rsyncd.conf")
	text := fmt.Sprintf("use chroot = no\nlog file = %s/log\n[m]\npath = %s\nread only = yes\n%s\n", tmp, dir, strings.Join(settings, "\n"))
	if os.Getuid() == 0 {
		text = "uid = 0\ngid = 0\n" + text
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &Peer{Addr: l.Addr().String()}
	go p.serve(l, config)
	return p
}

func (p *Peer) serve(l net.Listener, config string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		p.Connections.Add(1)
		go p.connection(c, config)
	}
}

// connection runs one server. Its bytes pass through here, so that they can be
// cut.
func (p *Peer) connection(c net.Conn, config string) {
	defer c.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	theirs := os.NewFile(uintptr(pair[1]), "server")
	ours, err := net.FileConn(os.NewFile(uintptr(pair[0]), "client"))
	if err != nil {
		return
	}
	defer ours.Close()
	cmd := exec.Command("rsync", "--daemon", "--config="+config)
	cmd.Stdin, cmd.Stdout = theirs, theirs
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return
	}
	gone := make(chan struct{}) // the client has hung up
	go func() {
		defer close(gone)
		io.Copy(ours, c)
		ours.Close()
	}()
	switch limit, stall := p.Limit.Load(), p.Stall.Load(); {
	case limit > 0:
		io.CopyN(c, ours, limit)
	case stall > 0:
		io.CopyN(c, ours, stall)
		<-gone
	default:
		io.Copy(&gate{p, c, gone}, ours)
	}
	c.Close()
	ours.Close()
	cmd.Wait()
}

// gate lets the server's words through to the client, unless the peer is to be
// cut or frozen.
type gate struct {
	peer   *Peer
	client net.Conn
	gone   <-chan struct{}
}

func (g *gate) Write(b []byte) (int, error) {
	if g.peer.Frozen.Load() {
		<-g.gone
	}
	if g.peer.Cut.Load() {
		return 0, ErrCut
	}
	return g.client.Write(b)
}
