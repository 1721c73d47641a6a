package accesslog

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAppend(t *testing.T) {
	when := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		r    Record
		want string
	}{
		"full": {
			Record{Peer: netip.MustParseAddr("::ffff:192.0.2.1"), Duration: 1234567890, Line: []byte("GET / HTTP/1.1"), Status: 200,
				Sent: 5 << 30, Referer: []byte("http://a/"), UserAgent: []byte("apt"), Project: "debian", Release: "trixie", TLS: "1.3"},
			`192.0.2.1 - - [21/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5368709120 "http://a/" "apt" debian trixie 1.3 4 1.234` + "\n",
		},
		"empty and hostile": {
			Record{Peer: netip.MustParseAddr("2001:db8::1"), Line: []byte("GET /\"\n HTTP/1.1"), Status: 404, UserAgent: []byte("a\\b\xff")},
			`2001:db8::1 - - [21/Nov/2026:10:00:00 +0000] "GET /\x22\x0A HTTP/1.1" 404 0 "-" "a\x5Cb\xFF" - - - 6 0.000` + "\n",
		},
	} {
		got := string(test.r.Append(nil, Stamp(nil, when)))
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}
