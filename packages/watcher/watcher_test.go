package watcher

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// Reports come every ten minutes at first, then no more; the first reboot fails.
func TestWatcherRebootsANodeThatNobodyWatches(t *testing.T) {
	file := filepath.Join(t.TempDir(), "health.json")
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var reboots []time.Duration
		w := Watcher{Report: file, Patience: time.Hour, Log: slog.New(slog.DiscardHandler), Reboot: func() error {
			reboots = append(reboots, time.Since(start))
			return errors.New("ordered by a test")
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		for range 12 {
			time.Sleep(10 * time.Minute)
			if err := os.WriteFile(file, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, time.Now(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if len(reboots) != 0 {
			t.Errorf("rebooted although watched: %v", reboots)
		}
		time.Sleep(130 * time.Minute)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if len(reboots) != 2 || reboots[0] < 3*time.Hour || reboots[0] > 3*time.Hour+2*time.Minute {
			t.Errorf("reboots at %v, want the first an hour after the last report, at about 3h, and a second one", reboots)
		}
	})
}
