package httpd

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// plain serves the fixture's site by net/http alone, as the event loop does for
// what is unusual; its address is returned.
func (f *fixture) plain() string {
	f.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	f.must(err)
	server := &http.Server{
		Handler: &handler{f.site, f.journal}, MaxHeaderBytes: maxHeader, DisableGeneralOptionsHandler: true,
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	f.Cleanup(func() {
		server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			f.Error(err)
		}
	})
	return l.Addr().String()
}

// methods reads the requests of a client that says all it has to say at once. It
// reports false if the last one is not complete, which the servers may take as
// they like, or if the connection would not end after a request that none follows.
func methods(raw []byte) ([]string, bool) {
	var out []string
	r := bufio.NewReader(bytes.NewReader(raw))
	for {
		next, err := r.Peek(1)
		if err == io.EOF {
			return out, len(out) > 0
		}
		if next[0] == '\r' || next[0] == '\n' { // an empty line, which net/http does not ignore
			return out, false
		}
		request, err := http.ReadRequest(r)
		if err != nil {
			whole := bytes.HasSuffix(raw, []byte("\r\n\r\n")) || bytes.HasSuffix(raw, []byte("\n\n"))
			return append(out, http.MethodGet), whole && !errors.Is(err, io.ErrUnexpectedEOF)
		}
		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			return out, false
		}
		out = append(out, request.Method)
		if len(out) > 8 {
			return out, false
		}
	}
}

// answers sends raw bytes and reads all that comes back.
func answers(t *testing.T, addr string, raw []byte, methods []string) []reply {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(raw); err != nil {
		return nil // refused and closed before all was sent
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return nil
	}
	r := bufio.NewReader(conn)
	var out []reply
	for _, method := range methods {
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return append(out, reply{Body: "then it ends"})
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("body of %d: %v", len(out), err)
		}
		for _, name := range []string{"Date", "Connection"} {
			resp.Header.Del(name)
		}
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "multipart/") { // with a boundary of its own
			resp.Header.Del("Content-Type")
			body = nil
		}
		if bytes.Contains(body, []byte("served in 24 h")) { // the front page counts what is asked here
			resp.Header.Del("Content-Length")
			body = nil
		}
		out = append(out, reply{resp.StatusCode, resp.Header, string(body)})
		if resp.Close {
			return append(out, reply{Body: "then it ends"})
		}
	}
	return out
}

// FuzzServers asks the server and net/http alone the same, byte by byte, and wants
// the same answers.
func FuzzServers(f *testing.F) {
	fix := newFixture(f)
	peer := fix.plain()
	for _, seed := range []string{
		request("GET", inRelease) + request("HEAD", "/debian/"),
		request("GET", "/debian/pool/large.iso", "Range: bytes=5-9") + request("GET", "/debian?x"),
		request("GET", inRelease, "Range: bytes=0-1,3-4", "If-Range: \"x\"", "Connection: close"),
		request("OPTIONS", "*") + request("POST", "/", "Content-Length: 3") + "abc" + request("GET", "/%2e%2e/x"),
		"GET http://a.example" + inRelease + " HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET //debian/./pool/ HTTP/1.1\r\nHost:\r\n\r\n",
		"GET /debian/dists/stable/ HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\nIf-None-Match: *\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "get / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		asked, ok := methods(raw)
		if !ok || bytes.Contains(raw, []byte("etrics")) || bytes.Contains(raw, []byte("status")) { // these change
			return
		}
		want, got := answers(t, peer, raw, asked), answers(t, fix.addr, raw, asked)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q\n-net/http +ours:\n%s", raw, diff)
		}
	})
}
