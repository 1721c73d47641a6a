package earlyboot

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/kmod"
)

// Limits of the watchdog's time. Below the minimum a slow disk would look like
// a hang.
const (
	defaultTimeout = 60
	minTimeout     = 10
	maxTimeout     = 600
)

// watchdog is the hardware timer that resets the box unless pinged. When this
// program gives way to gokrazy's the file closes without the magic character,
// and the timer runs on.
type watchdog struct {
	path string
	f    *os.File
}

func (w *watchdog) armed() bool { return w.f != nil }

// arm opens the device, which starts it, and sets its time. It returns the time
// that the hardware agreed to.
func (w *watchdog) arm(seconds int) (time.Duration, error) {
	f, err := os.OpenFile(w.path, os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	w.f = f
	// A driver that cannot be set keeps its own time, which is the answer then.
	_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.WDIOC_SETTIMEOUT, seconds)
	w.ping()
	if n, err := unix.IoctlGetInt(int(f.Fd()), unix.WDIOC_GETTIMEOUT); err == nil {
		seconds = n
	}
	return time.Duration(seconds) * time.Second, nil
}

// ping says that all is well. Any byte but the magic one does.
func (w *watchdog) ping() {
	if w.f != nil {
		w.f.Write([]byte{0})
	}
}

// startWatchdog loads drivers until one of them has found a watchdog.
func (b *boot) startWatchdog() {
	for _, m := range WatchdogModules() {
		b.load(b.modules, m)
		if b.armWatchdog(); b.dog.armed() {
			return
		}
	}
}

// armWatchdog tries again for the drivers that find their hardware later.
func (b *boot) armWatchdog() {
	if b.dog.armed() {
		b.dog.ping()
		return
	}
	t, err := b.dog.arm(watchdogSeconds(b.cmdline))
	switch {
	case err == nil:
		b.log.printf(notice, "watchdog armed, %v", t)
	case !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENODEV):
		b.log.printf(warning, "watchdog: %v", err)
	}
}

// watchdogSeconds is what the command line asks for, within reason.
func watchdogSeconds(cmdline string) int {
	seconds := defaultTimeout
	for _, w := range strings.Fields(cmdline) {
		if v, ok := strings.CutPrefix(w, "mm.watchdog="); ok {
			if n, err := strconv.Atoi(v); err == nil {
				seconds = min(max(n, minTimeout), maxTimeout)
			}
		}
	}
	return seconds
}

// deviceMissing tells the errors of drivers that have nothing to drive here.
func deviceMissing(err error) bool {
	return errors.Is(err, kmod.ErrNotFound) || errors.Is(err, unix.ENODEV)
}
