//go:build faults

package update

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"micromirror/packages/durable"
	"micromirror/packages/fault"
)

// Faults does what a test orders with mm.fault=NAME[,NAME…] on the kernel command
// line of an image built with the tag "faults":
//
//	update-hurry          passes every ten seconds, and steps of at most ten minutes
//	update-brief          steps of at most two minutes
//	update-POINT-error    the step at one of Points fails
//	update-POINT-kill     the process is killed there
//	update-POINT-hang     the step does not end
//
// Each happens once in the life of a disk, so that the node can be seen to go on.
func Faults(cmdline, state string, t Timing, log *slog.Logger) (func(ctx context.Context, point string) error, Timing) {
	ordered := fault.Ordered(cmdline)
	if ordered.Has("update-hurry") {
		t = Timing{First: time.Second, Poll: 10 * time.Second, Retry: 5 * time.Second, Step: 10 * time.Minute, Drain: t.Drain, Grace: t.Grace}
	}
	if ordered.Has("update-brief") {
		t.Step = 2 * time.Minute
	}
	return func(_ context.Context, point string) error {
		for _, kind := range []string{"error", "kill", "hang"} {
			name := "update-" + point + "-" + kind
			mark := filepath.Join(state, "fault-"+name)
			if _, err := os.Stat(mark); err == nil || !ordered.Has(name) {
				continue
			}
			if err := durable.WriteFile(mark, nil, 0o600); err != nil {
				return err
			}
			log.Warn("fault ordered: " + name)
			return happen(kind)
		}
		return nil
	}, t
}

func happen(kind string) error {
	switch kind {
	case "kill":
		return fmt.Errorf("still alive: %w", syscall.Kill(os.Getpid(), syscall.SIGKILL))
	case "hang":
		select {}
	default:
		return errors.New("ordered by a test")
	}
}
