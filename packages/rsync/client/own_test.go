package client

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"micromirror/packages/rsync/daemon"
	"micromirror/packages/rsync/wire"
)

// TestOwnDaemon pulls from our own daemon: whole files, a delta, and a tree
// with nothing to do.
func TestOwnDaemon(t *testing.T) {
	src := t.TempDir()
	tree(t, src, 4)
	server, err := daemon.New(daemon.Config{MaxPerPrefix: 100, Modules: []daemon.Module{{Name: "m", Path: src, Unreadable: true}}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(t.Context(), l)
	for protocol := wire.MinProtocol; protocol <= wire.MaxProtocol; protocol++ {
		t.Run(fmt.Sprint(protocol), func(t *testing.T) {
			cfg := Config{Addr: l.Addr().String(), Module: "m", Protocol: protocol}
			dst := t.TempDir()
			result := pull(t, cfg, ListOptions{}, dst, nil)
			if result.Code() != 0 {
				t.Errorf("failed: %v, messages %q", result.Failed, result.Messages)
			}
			if diff := gocmp.Diff(reference(t, src, protocol), seen(t, dst, protocol)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			path := filepath.Join(dst, "dists/size9.deb")
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			copy(content[rand.IntN(len(content)):], "changed")
			writeFile(t, path, content)
			again := pull(t, cfg, ListOptions{}, dst, nil)
			if again.Received != 1 || again.Literal > 20_000 {
				t.Errorf("%d files fetched again with %d bytes of data", again.Received, again.Literal)
			}
			if diff := gocmp.Diff(reference(t, src, protocol), seen(t, dst, protocol)); diff != "" {
				t.Errorf("after the delta: -want +got:\n%s", diff)
			}
		})
	}
}
