// Package earlyboot is what /init of the initramfs does: it arms the watchdog,
// finds the disk that the loader booted from, brings its partition table and
// /perm in order, mounts the root file system under dm-verity and hands over to
// gokrazy.
//
// Promise: it ends in gokrazy's init or in a reboot. Whatever goes wrong before
// the root is mounted is said on the console ("mm initrd: FAIL: …, rebooting")
// and costs one boot try, so that the loader comes to the other slot. Trouble
// with /perm or the partition table never stops the boot.
//
// Kernel command line: root=PARTUUID=<GUID of partition 1>/PARTNROFF=<1|2> and
// verity=<root hash>:<data blocks>, both required; mm.watchdog=<seconds> changes
// the time after which a hang resets the box. With mm.rescue=<node> the disk is a
// rescue stick (package rescue): it writes the box's own disk anew, says so ("mm
// initrd: rescue: …"), and reboots when the stick is out.
//
// Watchdog: the first of the drivers in WatchdogModules that finds its hardware
// is armed before anything else is touched, and left running for gokrazy, which
// feeds it from then on. A box without one boots all the same and says so.
//
// Files owned: in the initramfs E2fsck and Template; partition 4's file system
// until gokrazy mounts it; the partition table; in a rescue what package rescue
// writes.
package earlyboot

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/kmod"
	"micromirror/packages/rescue"
)

// Files that the initramfs holds beside /init and the modules.
const (
	E2fsck   = "/e2fsck"
	Template = "/perm.ext4.zst"
)

// WatchdogModules are loaded in this order until there is a watchdog: a device
// that someone built in on purpose, the chipsets' own (for Intel's the bridges
// that bring it forth), what the firmware describes, the service processor's.
func WatchdogModules() []string {
	return []string{"i6300esb", "i2c_i801", "lpc_ich", "iTCO_wdt", "sp5100_tco", "wdat_wdt", "ipmi_si", "ipmi_watchdog"}
}

// FixedModules are loaded whatever the hardware says: file systems and what they
// would ask for by request_module, disks, and what gokrazy looks at only once,
// when it starts.
func FixedModules() []string {
	return []string{
		"sd_mod", "crc32c_intel", "crc32c_generic", "sha256_ssse3", "virtio_rng", "squashfs", "ext4", "dm_verity",
		"vfat", "nls_cp437", "nls_ascii", "nls_utf8", "nls_iso8859_1", "efivarfs",
		"button", "evdev",
	}
}

// boot is one run of /init.
type boot struct {
	log     *console
	cmdline string
	dog     *watchdog
	modules *kmod.Loader
	drivers *regexp.Regexp // modaliases of what is loaded to find disks
	screen  string         // the terminal that a person would look at, if any
}

// Run does it all. It returns only if rebooting failed.
func Run(ctx context.Context) error {
	err := mountAPI() // first: the kernel's log is in /dev
	b := &boot{log: openConsole(), dog: &watchdog{path: "/dev/watchdog"}, drivers: storage, screen: "/dev/tty0"}
	if err == nil {
		err = b.run(ctx)
	}
	b.log.printf(critical, "FAIL: %v, rebooting", oneLine(err))
	b.dog.ping()
	time.Sleep(failPause)
	unix.Sync()
	return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}

// failPause leaves someone at the screen the time to read a line.
const failPause = 5 * time.Second

func (b *boot) run(ctx context.Context) error {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return fmt.Errorf("read kernel command line: %w", err)
	}
	b.cmdline = strings.TrimSpace(string(cmdline))
	b.log.printf(notice, "start")
	if b.modules, err = kmod.New(kmod.Config{}); err != nil {
		return err
	}
	b.startWatchdog()
	b.fault("initrd")
	if node, ok := rescue.Node(b.cmdline); ok {
		return b.rescue(ctx, node)
	}
	loaded, err := b.loadFixed()
	if err != nil {
		return err
	}
	disk, root, err := b.findRoot(ctx)
	if err != nil {
		return err
	}
	b.armWatchdog()
	b.checkPerm(ctx, disk, loaded)
	<-loaded
	if err := b.mountRoot(root); err != nil {
		return err
	}
	b.armWatchdog()
	if !b.dog.armed() {
		b.log.printf(warning, "no watchdog: a hang will not reset this box")
	}
	return b.switchRoot()
}

// loadFixed loads the fixed modules while disks are looked for and checked, with
// a loader of its own. It closes the channel when it is done.
func (b *boot) loadFixed() (<-chan struct{}, error) {
	l, err := kmod.New(kmod.Config{})
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.load(l, FixedModules()...)
	}()
	return done, nil
}

// load loads modules, and says so if one could not be loaded for another reason
// than that there is nothing to drive.
func (b *boot) load(l *kmod.Loader, names ...string) {
	for _, m := range names {
		if err := l.Load(m); err != nil && !deviceMissing(err) {
			b.log.printf(warning, "%v", err)
		}
	}
}

// mountAPI mounts the kernel's own file systems.
func mountAPI() error {
	for _, m := range []struct{ typ, on string }{{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}} {
		if err := unix.Mount(m.typ, m.on, m.typ, 0, ""); err != nil && err != unix.EBUSY {
			return fmt.Errorf("mount %s on %s: %w", m.typ, m.on, err)
		}
	}
	return nil
}
