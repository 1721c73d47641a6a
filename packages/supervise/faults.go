//go:build faults

package supervise

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"micromirror/packages/fault"
	"micromirror/packages/health"
)

// Faults changes what a node does as a test orders it with mm.fault=NAME[,NAME…]
// on the kernel command line of an image built with the tag "faults":
//
//	never-bless    the node is never healthy; a trial lasts 20 seconds
//	quick-proof    a new release proves itself no longer than one that is known
//	brief-proof    ten seconds of health prove any release
//	short-trial    a node that is unhealthy on trial is given up after one minute
//	impatient      a node that is unhealthy is given up after half a minute
//	userland-hang  process 1 stops, and with it the watchdog's pings, once the
//	               node has started
//	sick-later     the node becomes unhealthy for good, later than a release that
//	               is known is blessed; it is given up after one minute, or three
//	               minutes after its start if it is on trial
func Faults(cmdline string, log *slog.Logger, checks []health.Check, t Timing) ([]health.Check, Timing) {
	ordered := fault.Ordered(cmdline)
	if ordered.Has("never-bless") {
		log.Warn("fault ordered: never-bless")
		t.Window = 20 * time.Second
		checks = append(checks, sick(0))
	}
	if ordered.Has("quick-proof") {
		t.Prove = t.Stable
	}
	if ordered.Has("brief-proof") {
		t.Stable, t.Prove = 10*time.Second, 10*time.Second
	}
	if ordered.Has("short-trial") {
		t.Window = time.Minute
	}
	if ordered.Has("impatient") {
		t.Cure = 30 * time.Second
	}
	if ordered.Has("sick-later") {
		log.Warn("fault ordered: sick-later")
		t.Window, t.Cure = 3*time.Minute, time.Minute
		checks = append(checks, sick(t.Stable+time.Minute))
	}
	if ordered.Has("userland-hang") {
		log.Warn("fault ordered: userland-hang")
		if err := Freeze("/sys/fs/cgroup", "1"); err != nil {
			log.Error("fault", "err", err)
		}
		checks = append(checks, sick(0))
	}
	return checks, t
}

// sick fails from some time after its first call on.
func sick(after time.Duration) health.Check {
	start := time.Now()
	return health.Check{Name: "fault", Gate: true, Run: func(context.Context) error {
		if time.Since(start) < after {
			return nil
		}
		return errors.New("ordered by a test")
	}}
}

// Freeze stops a process by the cgroup freezer, which unlike SIGSTOP also stops
// process 1.
func Freeze(cgroups, pid string) error {
	dir := filepath.Join(cgroups, "frozen")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(pid), 0); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.freeze"), []byte("1"), 0)
}
