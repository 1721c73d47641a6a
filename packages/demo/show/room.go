package show

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"micromirror/packages/demo"
	"micromirror/packages/release"
)

// What the demo writes, generously. QEMU stops a machine whose disk cannot grow,
// without a word; so this is asked before.
const (
	roomMachine  = 2 << 30
	roomUpstream = 1200 << 20
	roomRelease  = 800 << 20 // with Debian's packages
)

// needs is how much room the demo needs in build, by what is there already.
func needs(build string) int64 {
	room := int64(roomMachine)
	for name, more := range map[string]int64{
		filepath.Join("demo", "upstream", demo.Files, demo.LargeFile): roomUpstream,
		filepath.Join("release", release.FileName):                    roomRelease,
	} {
		if _, err := os.Stat(filepath.Join(build, name)); err != nil {
			room += more
		}
	}
	return room
}

// checkRoom says so when build is too full.
func checkRoom(build string) error {
	if err := os.MkdirAll(build, 0o755); err != nil {
		return err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(build, &fs); err != nil {
		return fmt.Errorf("room in %s: %w", build, err)
	}
	if free, want := int64(fs.Bavail)*fs.Bsize, needs(build); free < want {
		return fmt.Errorf("%s has room for %s, the demo needs %s; remove something, or clone the repository elsewhere", build, size(free), size(want))
	}
	return nil
}
