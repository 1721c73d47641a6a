// Package watcher reboots a node whose supervisor (package supervise) is gone.
//
// It runs in another daemon: nothing that the supervisor itself does can help
// against a release in which it does not start. Then nobody would make that
// release's tries full, and nobody would reboot until they are used up.
//
// Promise: a node whose health report is renewed is left alone, whatever the
// report says; one without a new report is reset, at most once in a Patience.
// It needs memory when nobody has any, so both watchers are kept from the kernel's
// choice of whom to end then (Spare). The package opens no ports, and writes
// SpareFile only.
package watcher

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Patience is long because a node that nobody watches may still serve, and short
// enough that the three tries of a release whose supervisor does not run are used
// up within a few hours.
const Patience = time.Hour

// every is how often the report is looked at.
const every = time.Minute

// Watcher watches for the supervisor's reports.
type Watcher struct {
	Report   string        // the health report, which the supervisor renews at each look
	Patience time.Duration // without a new one
	Reboot   func() error
	Log      *slog.Logger
}

// Run watches until ctx ends. A reboot that fails is ordered again.
func (w Watcher) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	last, since := w.stamp(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if now := w.stamp(); now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) < w.Patience {
			continue
		}
		w.Log.Error("nobody watches this node's health, rebooting", "for", time.Since(since).Round(time.Minute))
		if err := w.Reboot(); err != nil {
			w.Log.Error("reboot", "err", err)
		}
		since = time.Now()
	}
}

// stamp changes with each report. The clock may be set meanwhile, so it says
// nothing about when.
func (w Watcher) stamp() time.Time {
	st, err := os.Stat(w.Report)
	if err != nil {
		return time.Time{}
	}
	return st.ModTime()
}

// Reset resets the machine; what was synced is safe. A file system that hangs
// must not keep it from happening, so the sync has a limit of its own.
func Reset() error {
	synced := make(chan struct{})
	go func() {
		unix.Sync()
		close(synced)
	}()
	select {
	case <-synced:
	case <-time.After(10 * time.Second):
	}
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	return errors.Join(err, os.WriteFile("/proc/sysrq-trigger", []byte("b"), 0))
}
