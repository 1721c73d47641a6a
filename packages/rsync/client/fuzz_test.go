package client

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"micromirror/packages/rsync/flist"
	"micromirror/packages/rsync/wire"
)

// tape is a connection that plays what a server once said, whatever it is told.
type tape struct {
	net.Conn // nil: anything not below must not be called
	mu       sync.Mutex
	rest     []byte
	closed   bool
}

func (t *tape) Read(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

func (t *tape) Write(p []byte) (int, error)      { return len(p), nil }
func (t *tape) SetReadDeadline(time.Time) error  { return nil }
func (t *tape) SetWriteDeadline(time.Time) error { return nil }

func (t *tape) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	return nil
}

// recorder notes what the server says.
type recorder struct {
	net.Conn
	said *[]byte
}

func (r recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	*r.said = append(*r.said, p[:n]...)
	return n, err
}

// record gives what rsync's daemon says in a pull.
func record(f *testing.F, p *peer, protocol int) []byte {
	var said []byte
	cfg := p.config()
	cfg.Protocol = protocol
	cfg.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return recorder{c, &said}, err
	}
	pull(f, cfg, ListOptions{}, f.TempDir(), nil)
	return said
}

// FuzzPull plays anything as a server's side of a pull. The run must end, never
// panic, and write below its destination only.
func FuzzPull(f *testing.F) {
	src := f.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		writeFile(f, src+"/"+name, []byte("content of "+name))
	}
	if err := os.Symlink("a", src+"/link"); err != nil {
		f.Fatal(err)
	}
	if err := os.Link(src+"/b", src+"/hard"); err != nil {
		f.Fatal(err)
	}
	p := startPeer(f, src)
	for protocol := wire.MinProtocol; protocol <= wire.MaxProtocol; protocol++ {
		f.Add(record(f, p, protocol), uint8(protocol), false)
		f.Add(record(f, p, protocol), uint8(protocol), true)
	}
	f.Fuzz(func(t *testing.T, said []byte, protocol uint8, basis bool) {
		play(t, said, int(protocol), basis)
	})
}

// play pulls from a tape. The files are those that the list names, and their
// places are numbers, so that a test can tell where something was written.
func play(t *testing.T, said []byte, protocol int, basis bool) {
	cfg := Config{
		Addr: "tape", Module: "m", User: "u", Password: "p", Protocol: protocol,
		Limits: flist.Limits{Entries: 200, Bytes: 1 << 20},
		Dialer: func(context.Context, string, string) (net.Conn, error) { return &tape{rest: said}, nil },
	}
	c, err := Dial(t.Context(), cfg)
	if err != nil {
		return
	}
	defer c.Close()
	list, err := c.List(t.Context(), ListOptions{})
	if err != nil {
		return
	}
	req := Request{}
	total := int64(0)
	for i, f := range list.All() {
		if f.IsRegular() && total+f.Size < 1<<20 {
			req.Files = append(req.Files, i)
			total += f.Size
		}
	}
	dir := t.TempDir()
	if req.Stage, err = os.OpenRoot(dir); err != nil {
		t.Fatal(err)
	}
	defer req.Stage.Close()
	req.Dest = func(i int) string { return "x/" + string(rune('a'+i%26)) }
	if basis {
		req.Basis = func(int) (*os.File, error) { return os.Open("fuzz_test.go") }
	}
	c.Transfer(t.Context(), req)
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(names) > 1 || len(names) == 1 && names[0].Name() != "x" {
		t.Errorf("unexpected names: %v", names)
	}
}
