package earlyboot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/anatol/devmapper.go"
	"github.com/u-root/u-root/pkg/mount"
	"golang.org/x/sys/unix"

	"micromirror/packages/disk"
	"micromirror/packages/verity"
)

// How long disks may take to appear: a hard disk spins up, a RAID controller
// thinks. Below the watchdog's time.
const (
	diskWait = 40 * time.Second
	diskPoll = 100 * time.Millisecond
)

const (
	newRoot = "/newroot"
	init1   = "/gokrazy/init"
)

// storage tells the modaliases that may lead to the root: PCI mass storage
// controllers, and buses of virtual machines.
var storage = regexp.MustCompile(`^(pci:.*bc01sc|virtio:|acpi:QEMU)`)

// findRoot loads drivers for what is there until the disk named on the command
// line has appeared, repairs its partition table, and returns it with the root
// partition's device.
func (b *boot) findRoot(ctx context.Context) (*disk.Running, string, error) {
	guid, number, err := disk.ParseRoot(b.cmdline)
	if err != nil {
		return nil, "", err
	}
	d, err := b.waitForDisk(ctx, guid)
	if err != nil {
		return nil, "", err
	}
	b.repairTable(d)
	root, err := d.Partition(number)
	return d, root, err
}

// coldplug loads the drivers of storage that has appeared since it last looked.
func (b *boot) coldplug() {
	if err := b.modules.Coldplug(b.drivers.MatchString); err != nil {
		b.log.printf(warning, "%v", err)
	}
}

func (b *boot) waitForDisk(ctx context.Context, guid disk.GUID) (*disk.Running, error) {
	ctx, cancel := context.WithTimeout(ctx, diskWait)
	defer cancel()
	b.load(b.modules, "sd_mod") // a disk asks for it by request_module
	for {
		b.dog.ping() // this loop ends by itself; a disk that hangs in it does not
		b.coldplug()
		d, err := disk.Find("/sys", "/dev", guid)
		if err == nil {
			return d, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("after %v: %w", diskWait, err)
		case <-time.After(diskPoll):
		}
	}
}

// repairTable makes both copies of the partition table good and the last
// partition as large as the disk. The boot goes on with whatever the kernel
// knows if that fails.
func (b *boot) repairTable(d *disk.Running) {
	f, err := os.OpenFile(d.Path, os.O_RDWR, 0)
	if err != nil {
		b.log.printf(warning, "partition table: %v", err)
		return
	}
	defer f.Close()
	changed, err := disk.RepairAndGrow(f)
	if changed {
		b.log.printf(notice, "partition table of %s repaired or extended", d.Path)
	}
	if err != nil {
		b.log.printf(warning, "%v", err)
	}
}

// verityTree reads the verity= argument.
func verityTree(cmdline string) (verity.Tree, error) {
	for _, w := range strings.Fields(cmdline) {
		if v, ok := strings.CutPrefix(w, "verity="); ok {
			return verity.ParseTree(v)
		}
	}
	return verity.Tree{}, errors.New("kernel command line has no verity=<root hash>:<data blocks>")
}

// mountRoot mounts the squashfs on partition dev through dm-verity: a block that
// is not what was built panics the kernel, which costs one boot try.
func (b *boot) mountRoot(dev string) error {
	tree, err := verityTree(b.cmdline)
	if err != nil {
		return err
	}
	err = devmapper.CreateAndLoad("root", "", devmapper.ReadOnlyFlag, devmapper.VerityTable{
		Length: tree.DataBlocks * verity.BlockSize, HashType: 1, DataDevice: dev, HashDevice: dev,
		DataBlockSize: verity.BlockSize, HashBlockSize: verity.BlockSize,
		NumDataBlocks: tree.DataBlocks, HashStartBlock: tree.DataBlocks,
		Algorithm: "sha256", Digest: tree.RootHash, Salt: "-", Params: []string{"1", "panic_on_corruption"},
	})
	if err != nil {
		return fmt.Errorf("verity on %s: %w", dev, err)
	}
	if err := os.MkdirAll(newRoot, 0o755); err != nil {
		return err
	}
	// The first device that the device mapper makes has number 0.
	if err := unix.Mount("/dev/dm-0", newRoot, "squashfs", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount root %s: %w", dev, err)
	}
	b.log.printf(notice, "root %s mounted", dev)
	return nil
}

// switchRoot becomes gokrazy's init. It is looked for first, while there is
// still a way to say that it is missing.
func (b *boot) switchRoot() error {
	st, err := os.Stat(newRoot + init1)
	if err != nil {
		return fmt.Errorf("root file system: %w", err)
	}
	if !st.Mode().IsRegular() || st.Mode().Perm()&0o111 == 0 {
		return fmt.Errorf("root file system: %s is not a program (%v)", init1, st.Mode())
	}
	b.dog.ping()
	b.log.printf(notice, "switching root")
	log.SetOutput(io.Discard) // the library tells every step
	return fmt.Errorf("switch root: %w", mount.SwitchRoot(newRoot, init1))
}
