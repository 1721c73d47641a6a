package supervise

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"micromirror/packages/daemon"
	"micromirror/packages/durable"
)

// Upkeep is what the disk needs now and then.
type Upkeep struct {
	Grow    func() (grown bool, err error)
	Trim    func() (bytes uint64, err error)
	Refresh func() (written bool, err error) // the identity's second copy
	Due     <-chan struct{}                  // says that the second copy is out of date
	Stamp   string                           // file whose age is the time since the last trim
	Log     *slog.Logger
}

// Intervals. The first look waits until the node has started.
const (
	upkeepDelay = 2 * time.Minute
	upkeepEvery = 6 * time.Hour
	trimEvery   = 7 * 24 * time.Hour
)

// Run does what is due until ctx ends.
func (u *Upkeep) Run(ctx context.Context) error {
	grown, err := u.Grow()
	switch {
	case err != nil:
		u.Log.Error("/perm does not grow to its partition", "err", err)
	case grown:
		daemon.Notice(u.Log, "/perm has grown to its partition")
	}
	timer := time.NewTimer(upkeepDelay)
	defer timer.Stop()
	for {
		u.refresh()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-u.Due:
		case <-timer.C:
			u.trim()
			timer.Reset(upkeepEvery)
		}
	}
}

func (u *Upkeep) refresh() {
	written, err := u.Refresh()
	if err != nil {
		u.Log.Error("second copy of the identity", "err", err)
	} else if written {
		u.Log.Info("second copy of the identity is up to date")
	}
}

// trim tells the disk what is free, once a week. The stamp comes first: a disk
// that hangs on it must not get it at each boot.
func (u *Upkeep) trim() {
	st, err := os.Stat(u.Stamp)
	if err == nil && time.Since(st.ModTime()).Abs() < trimEvery {
		return
	}
	if err := durable.WriteFile(u.Stamp, nil, 0o644); err != nil {
		u.Log.Error("trim", "err", err)
		return
	}
	n, err := u.Trim()
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		u.Log.Warn("trim", "err", err)
		return
	}
	u.Log.Info("trimmed", "bytes", n)
}
