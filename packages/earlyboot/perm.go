package earlyboot

import (
	"context"
	"fmt"
	"os"
	"time"

	"micromirror/packages/disk"
	"micromirror/packages/perm"
)

// remakeLimit is how long making an empty /perm may take; then the watchdog is
// left to itself. It takes seconds.
const remakeLimit = 10 * time.Minute

// checkPerm brings /perm in order: replays its journal, repairs it, or makes it
// anew. Whatever happens, the boot goes on: the system has to come up to get help.
func (b *boot) checkPerm(ctx context.Context, d *disk.Running) {
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
	b.log.printf(warning, "/perm cannot be repaired: %v", err)
	if err := b.remakePerm(ctx, dev); err != nil {
		b.log.printf(warning, "/perm: %v", err)
		return
	}
	b.log.printf(notice, "/perm %s made anew", dev)
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
