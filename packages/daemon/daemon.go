// Package daemon is the frame around every program that runs on a node: signals
// become a cancelled context, the log goes where it can be read, and the exit
// code tells the supervisor the truth.
//
// Log: every line goes to standard error (gokrazy keeps the last hundred of each
// service). Lines of level Notice and above also go to the kernel log, and with
// it to the screen and the serial port, as
//
//	mm <name>: <message> key=value …
//
// so that milestones and faults can be read without logging in, which nobody
// can. /dev/kmsg is opened before the daemon gives up its privileges; where it
// cannot be opened (a developer's machine) the lines go to standard error only.
//
// Exit codes: 1 after an error, also when the daemon's function returns without
// having been asked to; 128 plus the signal's number after a signal. Never 0 and
// never 125: gokrazy takes these to mean "do not restart me".
//
// Memory: Go's soft memory limit is set for each daemon, unless GOMEMLIMIT says
// otherwise, so that a 1 GiB node keeps its page cache for the mirror.
package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// ErrReturned is reported when a daemon ends although nothing told it to.
var ErrReturned = errors.New("ended without being asked to")

// Main runs a daemon until it fails or a signal arrives, and exits the process.
func Main(name string, run func(ctx context.Context, log *slog.Logger) error) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit(name))
	}
	var console io.Writer
	// The write error of a missing console is of no use to anyone.
	if f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0); err == nil {
		console = f
	}
	log := NewLog(name, os.Stderr, console)
	sigs := make(chan os.Signal, 1)
	signal.Notify(sigs, syscall.SIGTERM, syscall.SIGINT)
	os.Exit(supervise(log, sigs, faulty(name, run)))
}

// supervise runs the daemon's function and returns the exit code.
func supervise(log *slog.Logger, sigs <-chan os.Signal, run func(context.Context, *slog.Logger) error) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- run(ctx, log) }()
	select {
	case err := <-done:
		log.Error("stopped", "err", cmp.Or(err, ErrReturned))
		return 1
	case sig := <-sigs:
		log.Info("stopping", "signal", sig.String())
		cancel(fmt.Errorf("received signal %s", sig))
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			log.Error("stopped", "err", err)
		}
		if n, ok := sig.(syscall.Signal); ok {
			return 128 + int(n)
		}
		return 1
	}
}

// memoryLimit is the soft limit of a daemon's Go memory. What a daemon maps or
// sends by sendfile does not count.
func memoryLimit(name string) int64 {
	const mib = 1 << 20
	switch name {
	case "syncd": // file lists of a million entries
		return 320 * mib
	case "httpd", "rsyncd":
		return 128 * mib
	default:
		return 48 * mib
	}
}
