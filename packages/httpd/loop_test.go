package httpd

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestPipelining(t *testing.T) {
	f := newFixture(t)
	var raw strings.Builder
	const n = 300
	for range n {
		raw.WriteString(request("GET", inRelease))
		raw.WriteString(request("GET", "/debian/pool/large.iso", "Range: bytes=10-19"))
	}
	for i, r := range f.ask("GET", raw.String(), 2*n) {
		if want := []string{"Origin: Debian\n", "abcdef0123"}[i%2]; r.Body != want {
			t.Fatalf("response %d: %q, want %q", i, r.Body, want)
		}
	}
}

func TestPipeliningBehindALargeFile(t *testing.T) {
	f := newFixture(t)
	raw := request("GET", "/debian/pool/large.iso") + request("GET", inRelease) + request("GET", inRelease, unusual)
	got := f.ask("GET", raw, 3)
	if len(got[0].Body) != 1<<20 || got[1].Body != "Origin: Debian\n" || got[2].Body != "Origin: Debian\n" {
		t.Errorf("bodies of %d, %d, %d bytes", len(got[0].Body), len(got[1].Body), len(got[2].Body))
	}
}

func TestRequestInPieces(t *testing.T) {
	f := newFixture(t)
	conn := f.dial()
	r := bufio.NewReader(conn)
	raw := request("GET", inRelease)
	for range 2 {
		for i := range len(raw) {
			_, err := io.WriteString(conn, raw[i:i+1])
			f.must(err)
		}
		if got := f.read(r, "GET"); got.Body != "Origin: Debian\n" {
			t.Errorf("body %q", got.Body)
		}
	}
}

func TestEmptyLinesBetweenRequests(t *testing.T) {
	f := newFixture(t)
	raw := "\r\n" + request("GET", inRelease) + "\r\n\r\n" + request("GET", inRelease)
	for i, got := range f.ask("GET", raw, 2) {
		if got.Status != 200 {
			t.Errorf("request %d: status %d", i, got.Status)
		}
	}
}

func TestHTTP10(t *testing.T) {
	f := newFixture(t)
	conn := f.dial()
	r := bufio.NewReader(conn)
	head := "GET " + inRelease + " HTTP/1.0\r\n"
	_, err := io.WriteString(conn, head+"Connection: keep-alive\r\n\r\n"+head+"\r\n")
	f.must(err)
	for range 2 {
		if got := f.read(r, "GET"); got.Body != "Origin: Debian\n" {
			t.Errorf("got %+v", got)
		}
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("after the last response: %v, want the connection's end", err)
	}
}

// A reader that takes its time gets all of one version, although the file is
// replaced meanwhile.
func TestOneVersionMidPublish(t *testing.T) {
	f := newFixture(t)
	const size = 64 << 20
	f.write("debian/big", strings.Repeat("a", size))
	for _, header := range [][]string{nil, {unusual}} {
		r := bufio.NewReader(f.begin("/debian/big", header...))
		_, err := r.Peek(1)
		f.must(err)
		f.write("debian/big", strings.Repeat("b", size-1))
		if got := f.read(r, "GET"); got.Body != strings.Repeat("a", size) {
			t.Errorf("%d bytes, of them %d old", len(got.Body), strings.Count(got.Body, "a"))
		}
		if got := f.get("GET", "/debian/big", header...); got.Body != strings.Repeat("b", size-1) {
			t.Errorf("after the publish: %d bytes, of them %d new", len(got.Body), strings.Count(got.Body, "b"))
		}
		f.write("debian/big", strings.Repeat("a", size))
	}
}

// Whoever has seen a publish sees it in every later answer.
func TestPublishIsSeenAtOnce(t *testing.T) {
	f := newFixture(t)
	conns := make([]net.Conn, 8)
	readers := make([]*bufio.Reader, len(conns))
	for i := range conns {
		conns[i] = f.dial()
		readers[i] = bufio.NewReader(conns[i])
	}
	for n := range 500 {
		want := fmt.Sprint("version ", n)
		f.write("debian/dists/stable/InRelease", want)
		i := n % len(conns)
		_, err := io.WriteString(conns[i], request("GET", inRelease))
		f.must(err)
		if got := f.read(readers[i], "GET"); got.Body != want {
			t.Fatalf("body %q, want %q", got.Body, want)
		}
	}
}

func TestListingFollowsTheTree(t *testing.T) {
	f := newFixture(t)
	for _, step := range []struct{ name, want string }{
		{"debian/dists/stable/new", `<a href="new">`},
		{"debian/dists/stable/main/x", `<a href="main/">`},
	} {
		f.get("GET", "/debian/dists/stable/")
		f.write(step.name, "x")
		if got := f.get("GET", "/debian/dists/stable/"); !strings.Contains(got.Body, step.want) {
			t.Errorf("listing lacks %s", step.want)
		}
	}
	f.must(os.Remove(f.path("debian/dists/stable/new")))
	if got := f.get("GET", "/debian/dists/stable/"); strings.Contains(got.Body, `"new"`) {
		t.Error("listing shows what was removed")
	}
}

// At the end a running download is completed and idle connections are closed.
func TestStopLetsDownloadsFinish(t *testing.T) {
	for name, header := range map[string][]string{"event loop": nil, "net/http": {unusual}} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			const size = 64 << 20
			f.write("debian/big", strings.Repeat("a", size))
			idle := bufio.NewReader(f.begin(inRelease, header...))
			f.read(idle, "GET")
			running := bufio.NewReader(f.begin("/debian/big", header...))
			_, err := running.Peek(1)
			f.must(err)
			var wg sync.WaitGroup
			wg.Go(f.stop)
			// The end of the idle connection shows that the stop has begun.
			if _, err := idle.ReadByte(); err == nil {
				t.Error("idle connection got a byte instead of its end")
			}
			if got := f.read(running, "GET"); len(got.Body) != size {
				t.Errorf("%d bytes, want %d", len(got.Body), size)
			}
			wg.Wait()
		})
	}
}

// begin sends a request on a connection of its own.
func (f *fixture) begin(target string, header ...string) net.Conn {
	f.Helper()
	conn := f.dial()
	_, err := io.WriteString(conn, request("GET", target, header...))
	f.must(err)
	return conn
}

func TestAccessLog(t *testing.T) {
	f := newFixture(t)
	f.get("GET", inRelease, "User-Agent: a", "Referer: b")
	f.get("GET", inRelease, "User-Agent: a", "Referer: b", unusual)
	f.get("HEAD", "/debian/nothing", "Range: bytes=0-0")
	f.stop()
	data, err := os.ReadFile(filepath.Join(f.dir, "logs", "access.log"))
	f.must(err)
	var got []string
	for line := range strings.Lines(string(data)) {
		_, line, _ = strings.Cut(line, "] ")
		got = append(got, line[:strings.LastIndexByte(line, ' ')])
	}
	plain := `"GET /debian/dists/stable/InRelease HTTP/1.1" 200 15 "b" "a" debian stable - 4`
	missing := `"HEAD /debian/nothing HTTP/1.1" 404 0 "-" "-" debian - - 4`
	for want, n := range map[string]int{plain: 2, missing: 1} {
		count := 0
		for _, line := range got {
			if line == want {
				count++
			}
		}
		if count != n {
			t.Errorf("%d lines %q, want %d, in:\n%s", count, want, n, data)
		}
	}
}

// What net/http refuses by itself is logged and counted as everything else.
func TestRefusalsAreLogged(t *testing.T) {
	f := newFixture(t)
	f.get("GET", "/debian/%zz")
	f.get("GET", "/", "X: "+strings.Repeat("a", 30000))
	f.get("GET", "/", "Expect: wonders")
	f.ask("GET", request("GET", inRelease, unusual)+"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 2)
	f.ask("GET", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 1)
	page := f.get("GET", "/metrics").Body
	f.stop()
	data, err := os.ReadFile(filepath.Join(f.dir, "logs", "access.log"))
	f.must(err)
	for _, want := range []string{
		`"GET /debian/%zz HTTP/1.1" 400 0`, `"GET / HTTP/1.1" 431 0`, `"GET / HTTP/1.1" 417 0`,
		`"GET /debian/dists/stable/InRelease HTTP/1.1" 200 15`, `"-" 505 0`, `"\x16\x03\x01\x02\x00\x01\x00" 400 0`,
	} {
		if n := strings.Count(string(data), want); n != 1 {
			t.Errorf("%d lines with %s, want one, in:\n%s", n, want, data)
		}
	}
	if n := strings.Count(string(data), "\n"); n != 7 {
		t.Errorf("%d lines, want 7:\n%s", n, data)
	}
	for _, want := range []string{`status="400",family="4"} 2`, `status="431",family="4"} 1`, `status="505",family="4"} 1`} {
		if !strings.Contains(page, "micromirror_http_requests_total{project=\"\",release=\"\","+want) {
			t.Errorf("metrics lack %s:\n%s", want, page)
		}
	}
}

// A client that takes nothing for a while and then goes on gets everything.
func TestSlowClientFinishes(t *testing.T) {
	f := newFixture(t)
	const size = 32 << 20
	f.write("debian/big", strings.Repeat("z", size))
	conn := f.begin("/debian/big", "Connection: close")
	// Other clients are served while this one blocks its socket.
	for range 20 {
		if got := f.get("GET", inRelease); got.Status != 200 {
			t.Fatalf("status %d", got.Status)
		}
	}
	if got := f.read(bufio.NewReader(conn), "GET"); len(got.Body) != size {
		t.Errorf("%d bytes, want %d", len(got.Body), size)
	}
}
