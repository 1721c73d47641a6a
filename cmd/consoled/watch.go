package main

import (
	"context"
	"log/slog"
	"os"

	"micromirror/packages/watcher"
)

// watch starts the second pair of eyes, for a release whose updated does not run.
// What takes privileges is done when it returns.
func watch(ctx context.Context, report string, log *slog.Logger) {
	if err := watcher.Spare(watcher.SpareFile); err != nil {
		log.Warn("memory", "err", err)
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		log.Warn("kernel command line", "err", err)
	}
	w := watcher.Watcher{Report: report, Patience: watcher.Faults(string(cmdline), watcher.Patience), Reboot: watcher.Reset, Log: log}
	go func() {
		if err := w.Run(ctx); ctx.Err() == nil {
			log.Error("nobody watches updated", "err", err)
		}
	}()
}
