package accesslog

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
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

func TestRotationBoundsTheDisk(t *testing.T) {
	dir := t.TempDir()
	c := Config{Dir: dir, FileSize: 100, Files: 3, Log: slog.New(slog.DiscardHandler)}
	l, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if i == 25 { // a restart in between continues
			l.Close()
			if l, err = Open(c); err != nil {
				t.Fatal(err)
			}
		}
		l.Write([]byte(strings.Repeat(string(rune('a'+i%26)), 29) + "\n"))
	}
	l.Close()
	var total int64
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if len(names) != 3 || total > 300 {
		t.Errorf("%d files with %d bytes, want 3 with at most 300", len(names), total)
	}
	last, _ := os.ReadFile(filepath.Join(dir, "access.log"))
	if !bytes.HasSuffix(last, []byte("xxx\n")) {
		t.Errorf("newest file ends in %q", last)
	}
}

func TestBrokenDiskIsReportedOnce(t *testing.T) {
	var out bytes.Buffer
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := Open(Config{Dir: dir, FileSize: 10, Files: 2, Log: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		l.Write([]byte("123456789\n"))
	}
	if n := strings.Count(out.String(), "level=ERROR"); n != 1 {
		t.Errorf("reported %d times, want once:\n%s", n, &out)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l.Write([]byte("again\n"))
	if got, _ := os.ReadFile(filepath.Join(dir, fileName)); string(got) != "again\n" {
		t.Errorf("after the disk came back: %q", got)
	}
}
