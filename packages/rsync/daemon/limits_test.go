package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hold takes a connection as far as its module and keeps it.
func hold(t *testing.T, addr, module string) *talker {
	k := dial(t, addr)
	k.say("@RSYNCD: 31.0\n" + module + "\n")
	k.hear(greeting)
	k.hear("@RSYNCD: OK")
	return k
}

func TestMaxConnections(t *testing.T) {
	limited := mirrorModule(t.TempDir())
	limited.MaxConns = 1
	other := Module{Name: "other", Path: t.TempDir()}
	addr := start(t, Config{Modules: []Module{limited, other}, MaxConns: 3, MaxPerPrefix: 3})
	turnedAway := func(module, limit string) {
		t.Helper()
		k := dial(t, addr)
		k.say("@RSYNCD: 31.0\n" + module + "\n")
		k.hear(greeting)
		k.hear("@ERROR: max connections (" + limit + ") reached -- try again later")
	}
	first := hold(t, addr, "mirror")
	turnedAway("mirror", "1")
	hold(t, addr, "other")
	hold(t, addr, "other")
	turnedAway("other", "3")
	first.c.Close()
	eventually(t, func() bool {
		k := dial(t, addr)
		k.say("@RSYNCD: 31.0\nmirror\n")
		k.r.Line(1000)
		return k.r.Line(1000) == "@RSYNCD: OK"
	})
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if ok() {
			return
		}
	}
	t.Fatal("did not happen in 20 s")
}

func TestMaxPerPrefix(t *testing.T) {
	var s slots
	a, b, c := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.200"), netip.MustParseAddr("198.51.100.1")
	for _, step := range []struct {
		addr netip.Addr
		ok   bool
	}{{a, true}, {b, true}, {b, false}, {c, true}, {c, false}} {
		if ok, limit := s.take(step.addr, 3, 2); ok != step.ok {
			t.Errorf("take(%s) = %v, %d; want %v", step.addr, ok, limit, step.ok)
		}
	}
	for _, addr := range []netip.Addr{a, b, c} {
		s.release(addr)
	}
	if s.total != 0 || len(s.prefixes) != 0 {
		t.Errorf("after all were released: %d, %v", s.total, s.prefixes)
	}
	v6 := prefixOf(netip.MustParseAddr("2001:db8:1:2::3"))
	if want := netip.MustParsePrefix("2001:db8:1::/48"); v6 != want {
		t.Errorf("prefix = %s, want %s", v6, want)
	}
}

func TestAccess(t *testing.T) {
	denied := mirrorModule(t.TempDir())
	denied.Access.Deny = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	allowed := Module{Name: "allowed", Path: t.TempDir(), Access: Access{Allow: denied.Access.Deny}}
	addr := start(t, Config{Modules: []Module{denied, allowed}})
	out, code := run(t, "-r", "rsync://"+addr+"/mirror/")
	if want := "@ERROR: access denied to mirror from UNDETERMINED (127.0.0.1)"; code == 0 || !strings.Contains(out, want) {
		t.Errorf("exit code %d, output %q, want %q", code, out, want)
	}
	must(t, "-r", "rsync://"+addr+"/allowed/")
}

// Clients that say nothing, or no end of it, are closed after the handshake's
// time; one that stops reading after the timeout.
func TestSilence(t *testing.T) {
	root := filepath.Join(t.TempDir(), "src")
	tree(t, root, map[string]string{"big": strings.Repeat("x", 32<<20)})
	addr := start(t, Config{Modules: []Module{mirrorModule(root)}, Handshake: 200 * time.Millisecond, Timeout: 500 * time.Millisecond})
	for _, say := range []string{"", "@RSYNCD: 31.0\n", "@RSYNCD: 31.0\nmirror\n", "@RSYNCD: 31.0\nmirror\n--server\x00"} {
		k := dial(t, addr)
		k.say(say)
		if _, err := io.Copy(io.Discard, k.c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("after %q: %v, want the end", say, err)
		}
	}
	k := hold(t, addr, "mirror")
	k.say("--server\x00--sender\x00-r\x00.\x00mirror/\x00\x00")
	k.say("\x00\x00\x00\x00")
	eventually(t, func() bool {
		_, err := k.c.Write([]byte{0}) // fails once the server has hung up
		return err != nil
	})
}

func TestIPv6(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Modules: []Module{mirrorModule(small(t))}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	must(t, "-aH", "rsync://"+l.Addr().String()+"/mirror/", t.TempDir())
	stop()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// A stopping server cuts connections after their grace.
func TestStop(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Modules: []Module{mirrorModule(t.TempDir())}, Grace: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	hold(t, l.Addr().String(), "mirror")
	stop()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// One list serves all connections until the generation changes.
func TestGeneration(t *testing.T) {
	root := filepath.Join(t.TempDir(), "src")
	tree(t, root, map[string]string{"one": "1"})
	var generation atomic.Value
	generation.Store("a")
	m := mirrorModule(root)
	m.Generation = func() (string, error) { return generation.Load().(string), nil }
	addr := start(t, Config{Modules: []Module{m}})
	lists := func(name string) bool { return strings.Contains(must(t, "-r", "rsync://"+addr+"/mirror/"), name) }
	if !lists("one") {
		t.Error("one is missing")
	}
	tree(t, root, map[string]string{"two": "2"})
	if lists("two") {
		t.Error("two is listed although the generation is the same")
	}
	generation.Store("b")
	if !lists("two") {
		t.Error("two is missing in the new generation")
	}
	// What has gone since the list was read is reported and does not stop the rest.
	if err := os.Remove(filepath.Join(root, "one")); err != nil {
		t.Fatal(err)
	}
	dst := t.TempDir()
	out, code := run(t, "-a", "rsync://"+addr+"/mirror/", dst)
	if code != 24 || !strings.Contains(out, `file has vanished: "one" (in mirror)`) {
		t.Errorf("vanished file: exit code %d, output %q, want 24", code, out)
	}
	if got := listFiles(t, dst); len(got) != 1 || got[0] != "two" {
		t.Errorf("files = %q, want two", got)
	}
}

// Whatever takes the place of a listed file or directory, nothing outside the
// module and nothing unreadable is sent.
func TestEscape(t *testing.T) {
	top := t.TempDir()
	root := filepath.Join(top, "src")
	tree(t, top, map[string]string{"outside/secret": "secret", "src/dir/secret": "public", "src/link": "public",
		"src/fifo": "public", "src/closed": "public", "src/abs": "->/etc/passwd", "src/up": "->../outside", "src/self": "->."})
	m := mirrorModule(root)
	m.Generation = func() (string, error) { return "same", nil }
	addr := start(t, Config{Modules: []Module{m}})
	must(t, "-r", "rsync://"+addr+"/mirror/") // the list is read now
	for _, err := range []error{
		os.RemoveAll(filepath.Join(root, "dir")), os.Symlink("../outside", filepath.Join(root, "dir")),
		os.Remove(filepath.Join(root, "link")), os.Symlink("../outside/secret", filepath.Join(root, "link")),
		os.Remove(filepath.Join(root, "fifo")), unix.Mkfifo(filepath.Join(root, "fifo"), 0o644),
		os.Chmod(filepath.Join(root, "closed"), 0o640),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"-a"}, {"-aL"}, {"-ak"}, {"-a", "--copy-unsafe-links"}, {"-a", "--protocol=27"}} {
		for _, path := range []string{"", "up/", "up/secret", "../outside/", "dir/../../outside/", "abs"} {
			dst := t.TempDir()
			run(t, append(args, "rsync://"+addr+"/mirror/"+path, dst)...)
			for _, name := range listFiles(t, dst) {
				t.Errorf("rsync %q of %q got %s", args, path, name)
			}
		}
	}
}

// Whoever sends rules one byte at a time is not waited for.
func TestSlowRules(t *testing.T) {
	addr := start(t, Config{Modules: []Module{mirrorModule(small(t))}, Handshake: 100 * time.Millisecond})
	k := hold(t, addr, "mirror")
	k.say("--server\x00--sender\x00-r\x00.\x00mirror/\x00\x00")
	eventually(t, func() bool {
		_, err := k.c.Write([]byte{1, 0, 0, 7, 1, 0, 0, 0, 'x'}) // a frame with a part of a rule
		return err != nil
	})
}

// What clients describe takes no more memory than is set aside, and all of it
// comes back.
func TestMemoryLimit(t *testing.T) {
	root := filepath.Join(t.TempDir(), "src")
	files := map[string]string{}
	for i := range 300 {
		files[fmt.Sprintf("d/%03d", i)] = ""
	}
	tree(t, root, files)
	s, err := New(Config{Modules: []Module{mirrorModule(root)}, Memory: 1 << 20, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, s)
	rules := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(rules, []byte(strings.Repeat("- *"+strings.Repeat("x", 200)+"\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		out, code := run(t, "-r", "--filter=. "+rules, "rsync://"+addr+"/mirror/", t.TempDir())
		if code == 0 || !strings.Contains(out, "too much memory is in use, try again later") {
			t.Errorf("many rules: exit code %d, output %q", code, out)
		}
		must(t, "-r", "--exclude=*[13579]", "rsync://"+addr+"/mirror/", t.TempDir())
	}
	eventually(t, func() bool { return s.memory.Taken() == 0 })
}
