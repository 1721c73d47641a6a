package daemon_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"micromirror/packages/bench/sync"
	"micromirror/packages/rsync/client"
	"micromirror/packages/rsync/daemon"
)

// Our own client pulls from our own daemon, twice; then the real client finds
// nothing left to do.
func TestOwnClient(t *testing.T) {
	src, dst := t.TempDir(), filepath.Join(t.TempDir(), "dst")
	for name, content := range map[string]string{"a": "aaa", "d/b": strings.Repeat("b", 100_000), "d/e/c": ""} {
		path := filepath.Join(src, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(src, "a"), filepath.Join(src, "d/hard")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../a", filepath.Join(src, "d/link")); err != nil {
		t.Fatal(err)
	}
	s, err := daemon.New(daemon.Config{Modules: []daemon.Module{{Name: "src", Path: src}}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	for range 2 {
		if err := sync.Pull(ctx, client.Config{Addr: l.Addr().String(), Module: "src"}, dst); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(src, "d/b"), []byte(strings.Repeat("b", 50_000)+"x"+strings.Repeat("b", 60_000)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := sync.Pull(ctx, client.Config{Addr: l.Addr().String(), Module: "src"}, dst); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("rsync", "-rlptHni", "--delete", "--omit-dir-times", "rsync://"+l.Addr().String()+"/src/", dst+"/").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("rsync would still change: %v\n%s", err, out)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
