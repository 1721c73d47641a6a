package httpd

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unusual makes a request one that the event loop gives to net/http.
const unusual = "Content-Length: 0"

const inRelease = "/debian/dists/stable/InRelease"

// The conformance core: every case is asked twice, of the event loop and of
// net/http, which must agree in everything.
func TestConformance(t *testing.T) {
	f := newFixture(t)
	etag := f.get("GET", inRelease).Header.Get("ETag")
	for _, test := range []struct {
		name, method, target string
		header               []string
		status               int
		body                 string   // exact, if set
		want                 []string // "Name: value" that must be there
	}{
		{name: "file", target: inRelease, status: 200, body: "Origin: Debian\n", want: []string{
			"Content-Length: 15", "Content-Type: text/plain", "Last-Modified: Fri, 02 Jan 2026 03:04:05 GMT",
			"Accept-Ranges: bytes", "Cache-Control: no-cache", "Server: micromirror"}},
		{name: "package is cached long", target: "/debian/pool/a%2Bb%3Ac%20d%2520%c3%a9.deb", status: 200, body: "package",
			want: []string{"Content-Type: application/vnd.debian.binary-package", "Cache-Control: public, max-age=2592000"}},
		{name: "no encoding", target: inRelease, header: []string{"Accept-Encoding: gzip, br"}, status: 200, body: "Origin: Debian\n"},
		{name: "head", method: "HEAD", target: inRelease, status: 200, want: []string{"Content-Length: 15"}},
		{name: "odd bytes", target: "/debian/pool/bad%ff.iso", status: 200, body: "image"},
		{name: "markup in a name", target: "/debian/pool/%3Cb%3E&%22'.txt", status: 200, body: "markup"},
		{name: "query on a file", target: inRelease + "?x=y", status: 200, body: "Origin: Debian\n"},
		{name: "double slashes", target: "/debian//dists///stable/InRelease", status: 200, body: "Origin: Debian\n"},
		{name: "dots", target: "/debian/./pool/../dists/stable/InRelease", status: 200, body: "Origin: Debian\n"},
		{name: "escaped dots", target: "/debian/%2e%2e/debian/dists/stable/InRelease", status: 200, body: "Origin: Debian\n"},
		{name: "link inside", target: "/debian/dists/trixie/InRelease", status: 200, body: "Origin: Debian\n"},
		{name: "link outside, absolute", target: "/debian/absolute", status: 404},
		{name: "link outside, climbing", target: "/debian/climbing", status: 404},
		{name: "link to nothing", target: "/debian/broken", status: 404},
		{name: "link to itself", target: "/debian/loop", status: 404},
		{name: "above the root", target: "/../etc/passwd", status: 400},
		{name: "above the root, escaped", target: "/%2e%2e/%2e%2e/etc/passwd", status: 400},
		{name: "zero byte", target: "/debian/%00", status: 400},
		{name: "missing", target: "/debian/nothing", status: 404, want: []string{"Content-Type: text/html; charset=utf-8"}},
		{name: "name too long", target: "/debian/" + strings.Repeat("a", 300), status: 404},
		{name: "file as directory", target: inRelease + "/", status: 404},
		{name: "below a file", target: inRelease + "/x", status: 404},
		{name: "unreadable", target: "/debian/unreadable", status: 403},
		{name: "unreadable directory", target: "/debian/prerelease/", status: 403},
		{name: "directory without slash", target: "/debian?C=S", status: 301, want: []string{"Location: /debian/?C=S"}},
		{name: "listing", target: "/debian/", status: 200, want: []string{"Content-Type: text/html; charset=utf-8", "Vary: Accept"}},
		{name: "listing as json", target: "/debian/dists/stable/", header: []string{"Accept: application/json"}, status: 200,
			body: `[{"name":"InRelease","type":"file","mtime":"Fri, 02 Jan 2026 03:04:05 GMT","size":15}]`,
			want: []string{"Content-Type: application/json"}},
		{name: "project under repair", target: "/epel/x", status: 503, want: []string{"Retry-After: 30"}},
		{name: "front page", target: "/", status: 200},
		{name: "robots", target: "/robots.txt", status: 200},
		{name: "favicon", target: "/favicon.ico", status: 200},
		{name: "status", target: "/status.json", status: 200, want: []string{"Content-Type: application/json"}},
		{name: "health without a report", target: "/healthz", status: 503},

		{name: "range", target: inRelease, header: []string{"Range: bytes=0-5"}, status: 206, body: "Origin",
			want: []string{"Content-Range: bytes 0-5/15", "Content-Length: 6"}},
		{name: "suffix", target: inRelease, header: []string{"Range: bytes=-7"}, status: 206, body: "Debian\n",
			want: []string{"Content-Range: bytes 8-14/15"}},
		{name: "range of a large file", target: "/debian/pool/large.iso", header: []string{"Range: bytes=65536-65551"}, status: 206,
			body: "0123456789abcdef", want: []string{"Content-Range: bytes 65536-65551/1048576"}},
		{name: "range beyond", target: inRelease, header: []string{"Range: bytes=15-"}, status: 416, want: []string{"Content-Range: bytes */15"}},
		{name: "range on head", method: "HEAD", target: inRelease, header: []string{"Range: bytes=0-5"}, status: 200, want: []string{"Content-Length: 15"}},
		{name: "broken range", target: inRelease, header: []string{"Range: bytes=x"}, status: 200, body: "Origin: Debian\n"},
		{name: "if-range same", target: inRelease, header: []string{"Range: bytes=0-0", "If-Range: " + etag}, status: 206, body: "O"},
		{name: "if-range date", target: inRelease, header: []string{"Range: bytes=0-0", "If-Range: Fri, 02 Jan 2026 03:04:05 GMT"}, status: 206, body: "O"},
		{name: "if-range other", target: inRelease, header: []string{"Range: bytes=0-0", `If-Range: "x"`}, status: 200, body: "Origin: Debian\n"},

		{name: "not modified by tag", target: inRelease, header: []string{"If-None-Match: " + etag}, status: 304, want: []string{"ETag: " + etag}},
		{name: "not modified by date", target: inRelease, header: []string{"If-Modified-Since: Fri, 02 Jan 2026 03:04:05 GMT"}, status: 304},
		{name: "modified", target: inRelease, header: []string{"If-Modified-Since: Fri, 02 Jan 2026 03:04:04 GMT"}, status: 200},
		{name: "precondition", target: inRelease, header: []string{"If-Unmodified-Since: Fri, 02 Jan 2026 03:04:04 GMT"}, status: 412},
		{name: "match", target: inRelease, header: []string{`If-Match: "x"`}, status: 412},
		{name: "head not modified", method: "HEAD", target: inRelease, header: []string{"If-None-Match: *"}, status: 304},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &fixture{TB: t, addr: f.addr}
			method := test.method
			if method == "" {
				method = http.MethodGet
			}
			got := f.get(method, test.target, test.header...)
			if got.Status != test.status || test.body != "" && got.Body != test.body {
				t.Errorf("status %d, body %q, want %d, %q", got.Status, got.Body, test.status, test.body)
			}
			for _, line := range test.want {
				name, value, _ := strings.Cut(line, ": ")
				if got.Header.Get(name) != value {
					t.Errorf("%s: %q, want %q", name, got.Header.Get(name), value)
				}
			}
			if got.Header.Get("Content-Encoding") != "" {
				t.Error("Content-Encoding is set")
			}
			other := f.get(method, test.target, append(test.header, unusual)...)
			for _, r := range []reply{got, other} {
				r.Header.Del("Date")
				r.Header.Del("Connection") // net/http closes after an error
			}
			if diff := cmp.Diff(got, other); diff != "" {
				t.Errorf("-event loop +net/http:\n%s", diff)
			}
		})
	}
}

func TestSeveralRanges(t *testing.T) {
	f := newFixture(t)
	for _, header := range [][]string{nil, {unusual}} {
		got := f.get("GET", "/debian/pool/large.iso", append(header, "Range: bytes=0-3, 65540-65543, -2")...)
		kind, params, err := mime.ParseMediaType(got.Header.Get("Content-Type"))
		if err != nil || got.Status != 206 || kind != "multipart/byteranges" {
			t.Fatalf("status %d, type %q: %v", got.Status, kind, err)
		}
		r := multipart.NewReader(strings.NewReader(got.Body), params["boundary"])
		var parts []string
		for {
			part, err := r.NextPart()
			if err == io.EOF {
				break
			}
			f.must(err)
			data, err := io.ReadAll(part)
			f.must(err)
			parts = append(parts, part.Header.Get("Content-Range")+" "+string(data))
		}
		want := []string{"bytes 0-3/1048576 0123", "bytes 65540-65543/1048576 4567", "bytes 1048574-1048575/1048576 ef"}
		if diff := cmp.Diff(want, parts); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

// Where 32 bits end, signed and unsigned.
func TestLargeOffsets(t *testing.T) {
	f := newFixture(t)
	const size = 5 << 30
	file, err := os.Create(f.path("debian/huge"))
	f.must(err)
	defer file.Close()
	f.must(file.Truncate(size))
	for _, at := range []int64{1<<31 - 3, 1<<32 - 3, size - 6} {
		_, err := file.WriteAt([]byte("marker"), at)
		f.must(err)
		for _, header := range [][]string{nil, {unusual}} {
			got := f.get("GET", "/debian/huge", append(header, fmt.Sprintf("Range: bytes=%d-%d", at-1, at+6))...)
			if want := ("\x00marker\x00")[:min(8, size-at+1)]; got.Status != 206 || got.Body != want {
				t.Errorf("at %d: status %d, %q, want %q", at, got.Status, got.Body, want)
			}
		}
	}
	if got := f.get("HEAD", "/debian/huge").Header.Get("Content-Length"); got != fmt.Sprint(int64(size)) {
		t.Errorf("length %s, want %d", got, int64(size))
	}
}

// What only net/http sees.
func TestUnusualRequests(t *testing.T) {
	f := newFixture(t)
	for _, test := range []struct {
		name, method, raw string
		status            int
	}{
		{"absolute target", "GET", "GET http://other.example" + inRelease + " HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		{"1.0 without host", "GET", "GET " + inRelease + " HTTP/1.0\r\n\r\n", 200},
		{"expect", "GET", request("GET", inRelease, "Expect: 100-continue"), 200},
		{"post", "POST", request("POST", inRelease, unusual), 405},
		{"options", "OPTIONS", request("OPTIONS", inRelease), 204},
		{"options for all", "OPTIONS", request("OPTIONS", "*"), 204},
		{"target too long", "GET", request("GET", "/"+strings.Repeat("a", 9000)), 414},
		{"header too long", "GET", request("GET", "/", "X: "+strings.Repeat("a", 30000)), 431},
		{"broken escape", "GET", request("GET", "/%zz"), 400},
		{"no host", "GET", "GET / HTTP/1.1\r\n\r\n", 400},
		{"garbage", "GET", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400},
		{"later version", "GET", "GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505},
		{"double slash at the start", "GET", request("GET", "//debian/dists/stable/InRelease"), 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &fixture{TB: t, addr: f.addr}
			if got := f.ask(test.method, test.raw, 1)[0]; got.Status != test.status {
				t.Errorf("status %d, want %d", got.Status, test.status)
			}
		})
	}
}

func TestFrontPage(t *testing.T) {
	f := newFixture(t)
	body := f.get("GET", "/").Body
	for _, want := range []string{
		`<title>test.mirror.example</title>`, `<a href="https://sponsor.example/">Example &amp; Co</a>`,
		`<a href="debian/">`, "http://mirror.example/debian/", "mailto:mirror@example.org", "being repaired",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("front page lacks %s", want)
		}
	}
	// A Host that could break out of the page is not repeated on it.
	evil := f.ask("GET", "GET / HTTP/1.1\r\nHost: a\"><script>\r\n\r\n", 1)[0]
	if strings.Contains(evil.Body, "<script>") {
		t.Error("front page repeats markup from Host")
	}
}
