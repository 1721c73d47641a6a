package httpd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// What a stranger may send. Each case is followed by a well-formed request on the
// same connection, and each answer is the statuses up to the connection's end:
// whoever reads a request's end elsewhere than the sender is told by a second
// answer that should not be there. nginx gets the same; where it differs, why says
// what for.
func TestHostileRequests(t *testing.T) {
	f := newFixture(t)
	nginx := f.nginx()
	const host = "Host: a\r\n"
	const get = "GET " + inRelease + " HTTP/1.1\r\n"
	const next = get + host + "Connection: close\r\n\r\n"
	line := func(target string) string { return "GET " + target + " HTTP/1.1\r\n" + host + "\r\n" }
	header := func(lines string) string { return get + host + lines + "\r\n" }
	ranges := func(set string) string {
		return "GET /debian/pool/large.iso HTTP/1.1\r\n" + host + "Range: bytes=" + set + "\r\n\r\n"
	}
	for _, test := range []struct{ name, raw, ours, nginx, why string }{
		// Where a request ends.
		{"length and chunked", header("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\nG", "200", "400", closes},
		{"length twice", header("Content-Length: 5\r\nContent-Length: 5\r\n") + "HELLO", "200", "400", closes},
		{"two lengths", header("Content-Length: 5\r\nContent-Length: 0\r\n") + "HELLO", "400", "", ""},
		{"list of lengths", header("Content-Length: 5, 5\r\n") + "HELLO", "400", "", ""},
		{"length with a sign", header("Content-Length: +5\r\n") + "HELLO", "400", "", ""},
		{"length below zero", header("Content-Length: -1\r\n"), "400", "", ""},
		{"length beyond 64 bits", header("Content-Length: 99999999999999999999\r\n"), "400", "", ""},
		{"space before colon", header("Content-Length : 5\r\n") + "HELLO", "400", "", ""},
		{"body", header("Content-Length: 5\r\n") + "HELLO", "200", "200 200", closes},
		{"body that is a request", header(fmt.Sprintf("Content-Length: %d\r\n", len(next))) + next, "200", "200 200", closes},
		{"chunked", header("Transfer-Encoding: chunked\r\n") + "5\r\nHELLO\r\n0\r\n\r\n", "200", "200 200", closes},
		{"chunked behind a tab", header("Transfer-Encoding:\tchunked\r\n") + "0\r\n\r\n", "200", "501", "a tab is white space too"},
		{"nearly chunked", header("Transfer-Encoding: xchunked\r\n") + "0\r\n\r\n", "501", "", ""},
		{"not chunked", header("Transfer-Encoding: identity\r\n"), "501", "", ""},
		{"body of a post", "POST " + inRelease + " HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nHELLO", "405", "405 200", closes},
		{"endless body", "PUT / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("5\r\nHELLO\r\n", 1<<17), "405", "405", ""},
		// Line ends and other control characters.
		{"line feeds", "GET " + inRelease + " HTTP/1.1\nHost: a\n\n", "200 200", "", ""},
		{"line feed in the head", get + "Host: a\nX: y\r\n\r\n", "200 200", "", ""},
		{"carriage return in a value", header("X: a\rb\r\n"), "400", "", ""},
		{"zero in a value", header("X: a\x00b\r\n"), "400", "", ""},
		{"folded line", header("X: a\r\n b\r\n"), "200 200", "400", "RFC 9112 leaves the choice; the line means nothing to us"},
		{"folded first line", get + " X: a\r\n" + host + "\r\n", "400", "", ""},
		{"line without colon", header("garbage\r\n"), "400", "200 200", "it is malformed"},
		{"line without name", header(": x\r\n"), "400", "", ""},
		{"empty lines first", strings.Repeat("\r\n", 100), "200", "", ""},
		{"zero in the target", line("/debian/\x00"), "400", "", ""},
		{"control character in the target", line("/debian/\x01"), "400", "", ""},
		{"space in the target", line("/debian/a b"), "400", "", ""},
		// Hosts and targets.
		{"two hosts", header("Host: b\r\n"), "400", "", ""},
		{"host with a path", get + "Host: a/../b\r\n\r\n", "400", "", ""},
		{"empty host", get + "Host:\r\n\r\n", "200 200", "400", "it may be empty (RFC 9110, 7.2), and any will do"},
		{"absolute, odd port", line("http://evil.example:99999" + inRelease), "200 200", "", ""},
		{"absolute, user", line("http://u:p@a" + inRelease), "200 200", "400", "any will do"},
		{"absolute, other scheme", line("ftp://a" + inRelease), "200 200", "", ""},
		{"authority", line("a:80"), "400 200", "400", stays},
		{"connect", "CONNECT a:80 HTTP/1.1\r\n" + host + "\r\n", "405 200", "400", stays},
		{"trace", "TRACE / HTTP/1.1\r\n" + host + "\r\n", "405 200", "405", stays},
		{"get of all", line("*"), "400 200", "400", stays},
		{"relative", line("debian/"), "400", "", ""},
		{"no target", line(""), "400", "", ""},
		{"method in small letters", "get / HTTP/1.1\r\n" + host + "\r\n", "405 200", "400", stays},
		{"method that is no word", "G(T / HTTP/1.1\r\n" + host + "\r\n", "400", "", ""},
		{"zero, escaped", line("/debian/%00"), "400 200", "400", stays},
		{"line end, escaped", line("/debian/pool/%0d%0aSet-Cookie:x=y"), "404 200", "", ""},
		{"line end in a directory's name", line("/debian%0d%0aX:y"), "404 200", "", ""},
		{"slashes, escaped", line("/debian%2fdists%2fstable%2fInRelease"), "200 200", "", ""},
		{"dots in overlong UTF-8", line("/%c0%ae%c0%ae/etc/passwd"), "404 200", "", ""},
		{"broken UTF-8", line("/debian/pool/bad\xff.iso"), "200 200", "", ""},
		{"half an escape", line("/debian%"), "400", "", ""},
		{"backslashes", line("/debian\\..\\..\\etc"), "404 200", "", ""},
		{"8,000 bytes deep", line("/debian/" + strings.Repeat("a/", 3990)), "404 200", "", ""},
		{"1,500 dots", line("/debian/" + strings.Repeat("./", 1500) + "dists/stable/InRelease"), "200 200", "", ""},
		{"link to itself", line("/debian/loop"), "404 200", "403 200", "to a client it is not there"},
		{"below a link to itself", line("/debian/loop/x"), "404 200", "403 200", "to a client it is not there"},
		// Versions.
		{"1.2", "GET " + inRelease + " HTTP/1.2\r\n" + host + "\r\n", "200 200", "", ""},
		{"2.0", "GET " + inRelease + " HTTP/2.0\r\n" + host + "\r\n", "505", "", ""},
		{"1.10", "GET " + inRelease + " HTTP/1.10\r\n" + host + "\r\n", "400", "200 200", "a version has two digits"},
		{"http", "GET " + inRelease + " http/1.1\r\n" + host + "\r\n", "400", "", ""},
		{"upgrade to 2", header("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"), "200 200", "", ""},
		// Too much.
		{"1,000 lines", header(strings.Repeat("X: y\r\n", 1000)), "200 200", "400", "they are few bytes"},
		{"10,000 lines", header(strings.Repeat("X: y\r\n", 10000)), "431", "400", "431 says what is wrong"},
		{"endless line", get + "X: " + strings.Repeat("a", 4<<20), "431", "400", "431 says what is wrong"},
		{"endless target", "GET /" + strings.Repeat("a", 4<<20), "431", "414", "the head is too long before the target has an end"},
		// Ranges; what is none is ignored (RFC 9110, 14.2).
		{"last zero bytes", ranges("-0"), "416 200", "", ""},
		{"backwards", ranges("5-2"), "200 200", "416 200", "it is none"},
		{"two signs", ranges("--5"), "200 200", "416 200", "it is none"},
		{"only commas", ranges(",,,"), "200 200", "416 200", "it is none"},
		{"end beyond 64 bits", ranges("0-99999999999999999999999"), "206 200", "416 200", "an end beyond the file's means the file's"},
		{"start beyond 64 bits", ranges("99999999999999999999999-"), "416 200", "", ""},
		{"all of it, three times", ranges("0-1048575,0-1048575,0-1048575"), "200 200", "", ""},
		{"1,000 times a byte", ranges(strings.Repeat("0-0,", 999) + "0-0"), "200 200", "206 200", "their heads would be a hundred times their content"},
		{"1,000 times nearly all", ranges(strings.Repeat("1-,", 999) + "1-"), "200 200", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := test.nginx
			if want == "" {
				want = test.ours
			}
			for name, side := range map[string]struct{ addr, want string }{"ours": {f.addr, test.ours}, "nginx": {nginx, want}} {
				if got := statuses(t, side.addr, test.raw+next); got != side.want {
					t.Errorf("%s answers %q, want %q (%s)", name, got, side.want, test.why)
				}
			}
		})
	}
	if got := f.get("GET", inRelease); got.Status != http.StatusOK {
		t.Errorf("afterwards: status %d", got.Status)
	}
}

const (
	closes = "after a body, or what claims to be one, the connection ends"
	stays  = "the request's end is beyond doubt, so the connection stays"
)

// statuses sends raw bytes and reads answers until the connection ends.
func statuses(t *testing.T, addr, raw string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(conn, raw) }() // the server may have heard enough
	method, _, _ := strings.Cut(raw, " ")
	r := bufio.NewReader(conn)
	var got []string
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
			t.Error("the connection does not end")
		}
		if err != nil {
			return strings.Join(got, " ")
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		got = append(got, fmt.Sprint(resp.StatusCode))
	}
}

// A file that is cut while it is sent, which nothing that publishes properly does,
// costs that answer: its end is seen to be missing, and the server lives on.
func TestFileCutMidResponse(t *testing.T) {
	f := newFixture(t)
	const size = 64 << 20
	for _, header := range [][]string{nil, {unusual}} {
		f.write("debian/big", strings.Repeat("a", size))
		r := bufio.NewReader(f.begin("/debian/big", header...))
		resp, err := http.ReadResponse(r, nil)
		f.must(err)
		f.must(os.Truncate(f.path("debian/big"), 1<<20))
		if n, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %d bytes: %v, want an end that is seen to be wrong", n, err)
		}
		if got := f.get("GET", inRelease); got.Status != http.StatusOK {
			t.Errorf("afterwards: status %d", got.Status)
		}
	}
}
