package supervise

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"micromirror/packages/daemon"
	"micromirror/packages/health"
)

func TestStartedCountsFromTheFirstSupervisor(t *testing.T) {
	stamp := filepath.Join(t.TempDir(), "started")
	for _, tc := range []struct{ now, want time.Duration }{
		{time.Hour, 0}, {time.Hour + time.Minute, time.Minute}, {2 * time.Hour, time.Hour},
	} {
		if got := Started(stamp, tc.now); got != tc.want {
			t.Errorf("Started at %v = %v, want %v", tc.now, got, tc.want)
		}
	}
	for _, damaged := range []string{"", "soon", "-5s", "9h0m0s"} {
		if err := os.WriteFile(stamp, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := Started(stamp, time.Hour) + Started(stamp, time.Hour+time.Second); got != time.Second {
			t.Errorf("after %q: %v, want 1s", damaged, got)
		}
	}
}

// A long file system check before userland does not use up the trial.
func TestTrialDoesNotCountTheInitramfs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start, looks := time.Now(), 0
		var rebooted time.Duration
		g := &Gate{
			Boot: trial, Timing: Defaults(), Memory: memory(t), Log: daemon.NewLog("updated", io.Discard, io.Discard),
			Up:     Started(filepath.Join(t.TempDir(), "started"), time.Hour),
			Look:   func(context.Context) health.Report { looks++; return health.Report{} },
			Reboot: func(context.Context) error { rebooted = time.Since(start); cancel(); return nil },
		}
		if err := g.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if looks < 2 || rebooted != g.Timing.Window {
			t.Errorf("rebooted after %v and %d looks", rebooted, looks)
		}
	})
}
