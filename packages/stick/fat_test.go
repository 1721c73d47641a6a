package stick

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A stick is sound in the eyes of others, and they find the file there under its
// name.
func TestImage(t *testing.T) {
	content := bytes.Repeat([]byte("signed"), 10_000)
	image, err := Image("albuquerque-2", content)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "stick.img")
	if err := os.WriteFile(path, image, 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(argv ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
		}
		return string(out)
	}
	run("fsck.vfat", "-n", path)
	if got := run("mdir", "-b", "-i", path, "::"); strings.TrimSpace(got) != "::/micromirror-albuquerque-2.tar" {
		t.Errorf("files: %q", got)
	}
	if got := run("mtype", "-i", path, "::micromirror-albuquerque-2.tar"); got != string(content) {
		t.Errorf("%d bytes, want %d", len(got), len(content))
	}
	if _, err := Image("one", make([]byte, MaxSize+1)); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a file that no node would read: %v", err)
	}
}
