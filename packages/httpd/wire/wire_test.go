package wire

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseOrdinary(t *testing.T) {
	head := "GET /debian/a%20b?C=N HTTP/1.1\r\nHost: mirror.example:80\r\nuser-AGENT:  apt \r\nRange: bytes=0-1\r\n" +
		"If-Range: \"x\"\r\nIf-Modified-Since: Sat, 21 Nov 2026 10:00:00 GMT\r\nX-Other: y\r\nConnection: close\r\n\r\n"
	var got Request
	n, v := Parse([]byte(head+"GET"), &got)
	if v != Ordinary || n != len(head) {
		t.Fatalf("verdict %v, %d bytes, want %v, %d", v, n, Ordinary, len(head))
	}
	want := Request{
		Line: []byte("GET /debian/a%20b?C=N HTTP/1.1"), Target: []byte("/debian/a%20b?C=N"), Host: []byte("mirror.example:80"),
		UserAgent: []byte("apt"), Range: []byte("bytes=0-1"), IfRange: []byte(`"x"`),
		IfModifiedSince: []byte("Sat, 21 Nov 2026 10:00:00 GMT"),
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Request{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestVerdicts(t *testing.T) {
	const host = "Host: a\r\n"
	for _, test := range []struct {
		name, head string
		want       Verdict
	}{
		{"nothing", "", Incomplete},
		{"half a method", "HE", Incomplete},
		{"half a head", "GET / HTTP/1.1\r\nHost: a\r\n", Incomplete},
		{"HEAD", "HEAD / HTTP/1.1\r\n" + host + "\r\n", Ordinary},
		{"1.0 without host", "GET / HTTP/1.0\r\n\r\n", Ordinary},
		{"1.1 without host", "GET / HTTP/1.1\r\n\r\n", Unusual},
		{"two hosts", "GET / HTTP/1.1\r\n" + host + host + "\r\n", Unusual},
		{"post", "POST / HTTP/1.1\r\n" + host + "\r\n", Unusual},
		{"absolute target", "GET http://a/ HTTP/1.1\r\n" + host + "\r\n", Unusual},
		{"double slash", "GET //a HTTP/1.1\r\n" + host + "\r\n", Unusual},
		{"fragment", "GET /#a HTTP/1.1\r\n" + host + "\r\n", Unusual},
		{"space in target", "GET /a b HTTP/1.1\r\n" + host + "\r\n", Unusual},
		{"bytes in target", "GET /\xff HTTP/1.1\r\n" + host + "\r\n", Unusual},
		{"body", "GET / HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n", Unusual},
		{"chunked", "GET / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n", Unusual},
		{"expect", "GET / HTTP/1.1\r\n" + host + "Expect: 100-continue\r\n\r\n", Unusual},
		{"upgrade", "GET / HTTP/1.1\r\n" + host + "Connection: upgrade\r\nUpgrade: h2c\r\n\r\n", Unusual},
		{"folded", "GET / HTTP/1.1\r\n" + host + "A: b\r\n c\r\n\r\n", Unusual},
		{"space before colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", Unusual},
		{"bare line feeds", "GET / HTTP/1.1\nHost: a\n\n", Unusual},
		{"later version", "GET / HTTP/1.2\r\n" + host + "\r\n", Unusual},
		{"garbage", "\x16\x03\x01\x02", Unusual},
		{"zero byte in a value", "GET / HTTP/1.1\r\n" + host + "A: \x00\r\n\r\n", Unusual},
		{"too large", "GET / HTTP/1.1\r\n" + host + "A: " + strings.Repeat("a", MaxHead), Unusual},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r Request
			if _, got := Parse([]byte(test.head), &r); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestKeepAlive(t *testing.T) {
	for head, want := range map[string]bool{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n":                        true,
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n":   false,
		"GET / HTTP/1.0\r\n\r\n":                                   false,
		"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\nA: b\r\n\r\n": true,
	} {
		var r Request
		if _, v := Parse([]byte(head), &r); v != Ordinary || r.KeepAlive != want {
			t.Errorf("%q: verdict %v, keep-alive %v, want %v", head, v, r.KeepAlive, want)
		}
	}
}

// FuzzParse holds every request that Parse calls ordinary against net/http's
// reading of the same bytes.
func FuzzParse(f *testing.F) {
	f.Add([]byte("GET /a%20b?x HTTP/1.1\r\nHost: a\r\nRange: bytes=0-\r\nConnection: close\r\n\r\n"))
	f.Add([]byte("HEAD /%2e%2E/ HTTP/1.0\r\nIf-None-Match: \"x\"\r\nAccept:\t*/*\r\n\r\nGET / HTTP/1.1\r\n"))
	f.Add([]byte("GET /%zz HTTP/1.1\r\nHost: [::1]:80\r\nReferer: x\r\nUser-Agent:\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Request
		n, v := Parse(data, &r)
		if v != Ordinary {
			return
		}
		br := bufio.NewReader(bytes.NewReader(data[:n]))
		want, err := http.ReadRequest(br)
		path, query, ok := Decode(r.Target)
		if err != nil {
			if ok {
				t.Fatalf("net/http refuses %q: %v", data[:n], err)
			}
			return
		}
		if !ok {
			t.Fatalf("net/http takes %q", r.Target)
		}
		if br.Buffered() != 0 {
			t.Fatalf("net/http leaves %d bytes", br.Buffered())
		}
		compare(t, want, &r, path, query)
	})
}

func compare(t *testing.T, want *http.Request, r *Request, path, query string) {
	t.Helper()
	type view struct {
		Method, Path, Query, Host                                                                        string
		Accept, Agent, Referer, Range, IfRange, IfMatch, IfNoneMatch, IfModifiedSince, IfUnmodifiedSince string
		Close                                                                                            bool
	}
	h := want.Header.Get
	a := view{want.Method, want.URL.Path, want.URL.RawQuery, want.Host, h("Accept"), h("User-Agent"), h("Referer"),
		h("Range"), h("If-Range"), h("If-Match"), h("If-None-Match"), h("If-Modified-Since"), h("If-Unmodified-Since"), want.Close}
	method := http.MethodGet
	if r.Head {
		method = http.MethodHead
	}
	b := view{method, path, query, string(r.Host), string(r.Accept), string(r.UserAgent), string(r.Referer),
		string(r.Range), string(r.IfRange), string(r.IfMatch), string(r.IfNoneMatch), string(r.IfModifiedSince),
		string(r.IfUnmodifiedSince), !r.KeepAlive}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("-net/http +wire:\n%s", diff)
	}
	if len(want.TransferEncoding) > 0 || want.ContentLength > 0 {
		t.Errorf("net/http sees a body")
	}
}
