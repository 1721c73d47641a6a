package httpd

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"micromirror/packages/httpd/answer"
	"micromirror/packages/httpd/limit"
	"micromirror/packages/node"
	"micromirror/packages/project"
)

// fixture is a server on loopback with a small tree.
type fixture struct {
	testing.TB
	dir     string // holds mirror, state, run, logs
	addr    string
	https   string // address, closed until certify
	site    *answer.Site
	journal *Journal
	limits  *limit.Table
	stop    func() // ends the server and waits for it
}

var modTime = time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)

func newFixture(t testing.TB) *fixture {
	f := &fixture{TB: t, dir: t.TempDir()}
	for _, sub := range []string{"mirror", "state", "run/syncd", "logs", "acme"} {
		f.must(os.MkdirAll(filepath.Join(f.dir, sub), 0o755))
	}
	f.write("debian/dists/stable/InRelease", "Origin: Debian\n")
	f.write("debian/pool/a+b:c d%20é.deb", "package")
	f.write("debian/pool/bad\xff.iso", "image")
	f.write("debian/pool/large.iso", strings.Repeat("0123456789abcdef", 1<<16))
	f.write("debian/pool/<b>&\"'.txt", "markup")
	f.must(os.Symlink("stable", f.path("debian/dists/trixie")))
	f.must(os.Symlink("/etc/passwd", f.path("debian/absolute")))
	f.must(os.Symlink("../../../../etc/passwd", f.path("debian/climbing")))
	f.must(os.Symlink("nowhere", f.path("debian/broken")))
	f.must(os.Symlink("loop", f.path("debian/loop")))
	f.write("debian/unreadable", "x")
	f.must(os.Chmod(f.path("debian/unreadable"), 0o600))
	f.must(os.Mkdir(f.path("debian/prerelease"), 0o750))
	f.write("epel/x", "x")
	f.state("debian", `{"status":"idle","serving":true,"last_update":"2026-01-02T03:04:05Z","size":5,"files":1}`)
	f.state("epel", `{"status":"idle","serving":false,"last_update":"2026-01-02T03:04:05Z"}`)
	f.start()
	return f
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) path(name string) string { return filepath.Join(f.dir, "mirror", name) }

// write publishes a file as syncd does, by rename.
func (f *fixture) write(name, content string) {
	f.Helper()
	f.must(os.MkdirAll(filepath.Dir(f.path(name)), 0o755))
	stage := filepath.Join(f.dir, "stage")
	f.must(os.WriteFile(stage, []byte(content), 0o644))
	f.must(os.Chtimes(stage, modTime, modTime))
	f.must(os.Rename(stage, f.path(name)))
}

func (f *fixture) state(name, content string) {
	f.Helper()
	f.must(os.WriteFile(filepath.Join(f.dir, "state", name+".json"), []byte(content), 0o644))
}

func (f *fixture) start() {
	f.Helper()
	ctx, cancel := context.WithCancel(f.Context())
	c := &node.Config{
		Fleet: node.Fleet{Domain: "mirror.example", Contact: "mirror@example.org", Projects: project.Catalogue()},
		Node:  node.Node{Name: "test", Sponsor: node.Sponsor{Name: "Example & Co", URL: "https://sponsor.example/"}, Projects: []string{"debian", "epel"}},
	}
	log := slog.New(slog.DiscardHandler)
	dirs := Dirs{Root: f.path(""), State: filepath.Join(f.dir, "state"), Run: filepath.Join(f.dir, "run"), Logs: filepath.Join(f.dir, "logs")}
	site, journal, err := NewSite(ctx, c, dirs, log)
	f.must(err)
	f.site, f.journal = site, journal
	l, err := net.Listen("tcp", "127.0.0.1:0")
	f.must(err)
	f.addr = l.Addr().String()
	done := make(chan error, 1)
	f.limits = limit.NewTable(limit.Default())
	https := f.newHTTPS(ctx, log)
	go func() {
		done <- Serve(ctx, l.(*net.TCPListener), Config{Site: site, Journal: journal, Limits: f.limits, Grace: 5 * time.Second, Log: log, HTTPS: https})
	}()
	stopped := false
	f.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			f.Error(err)
		}
		l.Close()
	}
	f.Cleanup(f.stop)
}

// await waits until a condition holds.
func (f *fixture) await(what string, ok func() bool) {
	f.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			f.Fatalf("in vain: %s", what)
		}
	}
}

// reply is a response as a client sees it.
type reply struct {
	Status int
	Header http.Header
	Body   string
}

// dial opens a connection that the test's end closes.
func (f *fixture) dial() net.Conn {
	f.Helper()
	conn, err := net.Dial("tcp", f.addr)
	f.must(err)
	f.must(conn.SetDeadline(time.Now().Add(20 * time.Second)))
	f.Cleanup(func() { conn.Close() })
	return conn
}

// ask sends raw bytes and reads n responses to requests of the method.
func (f *fixture) ask(method, raw string, n int) []reply {
	f.Helper()
	conn := f.dial()
	defer conn.Close()
	_, err := io.WriteString(conn, raw)
	f.must(err)
	r := bufio.NewReader(conn)
	var out []reply
	for range n {
		out = append(out, f.read(r, method))
	}
	return out
}

func (f *fixture) read(r *bufio.Reader, method string) reply {
	f.Helper()
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	f.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	f.must(err)
	return reply{resp.StatusCode, resp.Header, string(body)}
}

// get asks for a target with header lines.
func (f *fixture) get(method, target string, header ...string) reply {
	f.Helper()
	return f.ask(method, request(method, target, header...), 1)[0]
}

func request(method, target string, header ...string) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: mirror.example\r\n", method, target)
	for _, h := range header {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}
