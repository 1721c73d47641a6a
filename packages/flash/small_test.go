package flash

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"micromirror/packages/disk"
)

// What lay at both ends of a disk is gone, what is in its middle is of no matter.
func TestWriteSmall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stick")
	if err := os.WriteFile(path, bytes.Repeat([]byte("old"), 2<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	image := bytes.Repeat([]byte("new"), 1<<20)
	if err := WriteSmall(path, image); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 6<<20 || !bytes.HasPrefix(got, image) || !bytes.HasSuffix(got, make([]byte, end)) || bytes.Contains(got[:len(got)-end-1], make([]byte, 2)) {
		t.Errorf("%d bytes on the disk", len(got))
	}
	if err := os.Truncate(path, 3<<20); err != nil {
		t.Fatal(err)
	}
	if err := WriteSmall(path, image); !errors.Is(err, disk.ErrTooSmall) || !strings.Contains(err.Error(), "4 MiB are needed") {
		t.Errorf("a disk without room: %v", err)
	}
	if err := WriteSmall(path+".missing", image); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no disk: %v", err)
	}
}
