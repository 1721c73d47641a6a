package earlyboot

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/disk"
	"micromirror/packages/perm"
)

// remakeLimit is how long making an empty /perm may take; then the watchdog is
// left to itself. It takes seconds.
const remakeLimit = 10 * time.Minute

// checkPerm brings /perm in order: replays its journal, repairs it, or makes it
// anew. Whatever happens, the boot goes on: the system has to come up to get help.
// Making it anew throws the mirror away, so that a check which merely failed is
// not enough: then the kernel must refuse the file system as well, which it can
// say once the modules are loaded.
func (b *boot) checkPerm(ctx context.Context, d *disk.Running, loaded <-chan struct{}) {
	dev, err := d.Partition(disk.Perm)
	if err != nil {
		b.log.printf(warning, "/perm: %v", err)
		return
	}
	outcome, err := perm.Check(ctx, dev, b.e2fsck(), b.dog.ping)
	if outcome != perm.Bad {
		b.log.printf(notice, "/perm %s is %v", dev, outcome)
		return
	}
	if !b.beyondRepair(err) {
		<-loaded
		if probe := mountable(dev); probe == nil {
			b.log.printf(warning, "/perm is left as it is, unchecked: %v", err)
			return
		}
	}
	b.log.printf(warning, "/perm cannot be repaired: %v", err)
	if err := b.remakePerm(ctx, dev); err != nil {
		b.log.printf(warning, "/perm: %v", err)
		return
	}
	b.log.printf(notice, "/perm %s made anew", dev)
}

// mountable reports whether the kernel takes the file system, without replaying
// its journal.
func mountable(dev string) error {
	const probe = "/probe"
	if err := os.MkdirAll(probe, 0o700); err != nil {
		return fmt.Errorf("probe %s: %w", dev, err)
	}
	if err := unix.Mount(dev, probe, "ext4", unix.MS_RDONLY, "noload"); err != nil {
		return fmt.Errorf("probe %s: %w", dev, err)
	}
	return unix.Unmount(probe, 0)
}

func (b *boot) remakePerm(ctx context.Context, dev string) error {
	ctx, cancel := context.WithTimeout(ctx, remakeLimit)
	defer cancel()
	go keepPinging(ctx, b.dog)
	t, err := os.Open(Template)
	if err != nil {
		return fmt.Errorf("template: %w", err)
	}
	defer t.Close()
	return perm.Remake(ctx, dev, b.template(t))
}

// keepPinging feeds the watchdog during a long step, until that step's limit.
func keepPinging(ctx context.Context, w *watchdog) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.ping()
		case <-ctx.Done():
			return
		}
	}
}
