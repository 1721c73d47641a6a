package supervise

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"micromirror/packages/durable"
	"micromirror/packages/slot"
)

// ESP is the EFI system partition, mounted read-only but while it is changed:
// FAT has no journal, and what is not written cannot be torn.
type ESP struct {
	Device, Dir string
	Type        string // "vfat"

	changing sync.Mutex
}

// Path is where the partition is mounted.
func (e *ESP) Path() string { return e.Dir }

const espFlags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME

// Mount mounts the partition read-only. What an earlier process left mounted is
// fine.
func (e *ESP) Mount() error {
	if err := os.MkdirAll(e.Dir, 0o755); err != nil {
		return fmt.Errorf("mount ESP: %w", err)
	}
	err := unix.Mount(e.Device, e.Dir, e.Type, espFlags|unix.MS_RDONLY, "")
	if errors.Is(err, unix.EBUSY) {
		return e.remount(unix.MS_RDONLY)
	}
	if err != nil {
		return fmt.Errorf("mount ESP %s: %w", e.Device, err)
	}
	return nil
}

func (e *ESP) remount(flags uintptr) error {
	if err := unix.Mount("", e.Dir, "", unix.MS_REMOUNT|espFlags|flags, ""); err != nil {
		return fmt.Errorf("remount ESP: %w", err)
	}
	return nil
}

// Change makes the partition writable for f and leaves it clean. One change at a
// time: its end makes the partition read-only.
func (e *ESP) Change(f func(dir string) error) error {
	e.changing.Lock()
	defer e.changing.Unlock()
	if err := e.remount(0); err != nil {
		return err
	}
	err := f(e.Dir)
	return errors.Join(err, durable.Barrier(e.Dir), e.remount(unix.MS_RDONLY))
}

// Boot describes the running slot by its entry, and returns its release. A slot
// whose tries are used up while there is no other to fall back to is not on
// trial: nothing would come of it.
func (e *ESP) Boot(running slot.Name) (Boot, string, error) {
	b := Boot{Slot: string(running)}
	entries, err := slot.List(e.Dir)
	other := slices.ContainsFunc(entries, func(e slot.Entry) bool { return e.Slot != running && !e.Bad() })
	for _, entry := range entries {
		if entry.Slot == running {
			b.Generation, b.TriesLeft = entry.Generation, entry.TriesLeft
			b.Alone = !slices.ContainsFunc(entries, func(e slot.Entry) bool { return e.Slot != running })
			b.Last = entry.Bad() && !other
			b.Trial = entry.Counted && !b.Last
			return b, entry.Release, err
		}
	}
	b.Unread = true
	return b, "", errors.Join(err, fmt.Errorf("slot %s has no boot entry", running))
}

// Rearm makes the running slot's tries full. What is damaged beside its entry, as
// by a power cut while another was written, is no hindrance.
func (e *ESP) Rearm(running slot.Name) (b Boot, armed bool, err error) {
	err = e.Change(func(dir string) (err error) {
		armed, err = slot.Rearm(dir, running)
		return err
	})
	if err != nil {
		return Boot{}, armed, err
	}
	if b, _, err = e.Boot(running); !b.Unread {
		err = nil
	}
	return b, armed, err
}
