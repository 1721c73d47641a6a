package client

import (
	"io"
	"net"
	"path/filepath"
	"testing"

	"github.com/gokrazy/rsync/rsyncd"
	gocmp "github.com/google/go-cmp/cmp"
)

type nopWriter struct{ io.Writer }

func (nopWriter) Close() error { return nil }

// TestGokrazy pulls from another implementation. It speaks protocol 27 and
// doesn't know -H (announced, it breaks the stream), so links become files.
func TestGokrazy(t *testing.T) {
	src := t.TempDir()
	tree(t, src, 3)
	server, err := rsyncd.NewServer([]rsyncd.Module{{Name: "m", Path: src}}, rsyncd.DontRestrict(), rsyncd.WithStderr(nopWriter{io.Discard}))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(t.Context(), l)
	dst := t.TempDir()
	result := pull(t, Config{Addr: l.Addr().String(), Module: "m"}, ListOptions{NoHardLinks: true}, dst, nil)
	if len(result.Failed) > 0 {
		t.Errorf("failed: %v", result.Failed)
	}
	want := reference(t, src, 27)
	delete(want, "bad\xffname/Ünïcode:x") // it doesn't list what isn't UTF-8
	for name := range want {
		want[name] = unlinked(want[name])
	}
	if diff := gocmp.Diff(want, describe(t, dst)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	result = pull(t, Config{Addr: l.Addr().String(), Module: "m"}, ListOptions{NoHardLinks: true}, filepath.Join(dst, "."), nil)
	if result.Received != 0 {
		t.Errorf("%d files fetched again", result.Received)
	}
}
