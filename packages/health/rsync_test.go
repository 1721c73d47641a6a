package health

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	rsync "micromirror/packages/rsync/daemon"
)

func TestRsyncDaemon(t *testing.T) {
	dir := t.TempDir()
	server, err := rsync.New(rsync.Config{
		Modules: []rsync.Module{{Name: "debian", Comment: "Debian", Path: dir}, {Name: "a-rather-long-module-name", Path: dir}},
		MOTD:    "welcome\n@ERROR-free since 2026\n", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(t.Context(), l) }()
	t.Cleanup(func() { <-ended })
	for _, tc := range []struct {
		modules []string
		want    string
	}{
		{nil, "ok"},
		{[]string{"debian", "a-rather-long-module-name"}, "ok"},
		{[]string{"debian", "epel"}, "fail: module epel is not listed"},
	} {
		if got := verdict(Rsync(l.Addr().String(), tc.modules)(t.Context())); got != tc.want {
			t.Errorf("%v: %s; want %s", tc.modules, got, tc.want)
		}
	}
}

func TestRsyncList(t *testing.T) {
	for said, want := range map[string]string{
		"@RSYNCD: 31.0 md5\nwelcome\n\ndebian         \tDebian\n@RSYNCD: EXIT\n": "ok",
		"":                                     "warn: closed without a greeting",
		"HTTP/1.1 400 Bad Request\n":           `fail: greeting "HTTP/1.1 400 Bad Request" is not rsync's`,
		"@RSYNCD: 31.0\ndebian\n":              "fail: list of modules has no end: unexpected EOF",
		"@RSYNCD: 31.0\n@ERROR: go away\x00\n": `fail: refused: "go away\x00"`,
		"@RSYNCD: 31.0\n@ERROR: max connections (200) reached -- try again later\n": "warn: all connections are taken",
	} {
		_, err := list(struct {
			io.Reader
			io.Writer
		}{iotest.OneByteReader(strings.NewReader(said)), io.Discard})
		if got := verdict(err); got != want {
			t.Errorf("%q: %s; want %s", said, got, want)
		}
	}
}

func FuzzRsyncList(f *testing.F) {
	f.Add("@RSYNCD: 31.0\ndebian         \tDebian\n@RSYNCD: EXIT\n")
	f.Add("@RSYNCD: 31.0\n@ERROR: \n")
	f.Fuzz(func(t *testing.T, said string) {
		names, err := list(struct {
			io.Reader
			io.Writer
		}{strings.NewReader(said), io.Discard})
		if err == nil && !strings.Contains(said, "@RSYNCD: EXIT") || err != nil && names != nil {
			t.Errorf("%q: modules %q, error %v", said, names, err)
		}
	})
}
