package mirrortest

import (
	"os"
	"testing"
)

// memory is where Linux keeps a file system in memory.
const memory = "/dev/shm"

// TempDir makes a folder for the length of the test, in memory if the machine
// has such a place: a publish syncs its whole file system several times, which
// on a disk shared with others takes long and tells nothing.
func TempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(memory, "mirrortest")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
