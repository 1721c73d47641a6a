package daemon

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/gokrazy/rsync/rsyncclient"
)

// The third peer: gokrazy's client pulls the same tree. It does not know hard
// links, and speaks protocol 27.
func TestGokrazyClient(t *testing.T) {
	root := filepath.Join(t.TempDir(), "src")
	tree(t, root, map[string]string{"a": "a", "d/b": string(make([]byte, 100_000)), "d/e/c": "c", "link": "->a", "empty": ""})
	at := time.Unix(1_700_000_000, 0)
	truncate(t, root)
	settle(t, root, at)
	addr := start(t, Config{Modules: []Module{mirrorModule(root)}})
	dst := filepath.Join(t.TempDir(), "dst")
	client, err := rsyncclient.New([]string{"-a"}, rsyncclient.DontRestrict(), rsyncclient.WithStderr(discard{}))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is something to compare with
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.RunDaemon(t.Context(), c, "mirror/", []string{dst}); err != nil {
			t.Fatal(err)
		}
		c.Close()
		settle(t, dst, at) // it does not keep the times of directories
		sameFiles(t, root, dst)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }
