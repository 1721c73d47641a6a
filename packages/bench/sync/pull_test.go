package sync

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"micromirror/packages/rsync/client"
)

// TestPull pulls a small version of each scenario; afterwards rsync must find
// nothing left to do.
func TestPull(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			dir := t.TempDir()
			src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
			if err := makeOnce(src, 0.003, s.make); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(dst, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := s.before(src, dst); err != nil {
				t.Fatal(err)
			}
			addr, stop, err := daemon(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			if err := Pull(t.Context(), client.Config{Addr: addr, Module: "src"}, dst); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command("rsync", "-rlptHcin", "--delete", src+"/", dst+"/").CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("rsync would still do: %v\n%s", err, out)
			}
		})
	}
}
