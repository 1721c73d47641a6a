//go:build faults

package daemon

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/fault"
	"micromirror/packages/layout"
)

// faulty makes a program one of a bad release, as a test orders it on the kernel
// command line of an image built with the tag "faults" (package fault):
//
//	NAME-ends    the program NAME ends as soon as it starts
//	NAME-hangs   it starts and does nothing
//	NAME-hoards  it takes all memory, and the kernel ends everybody else for it
//	NAME-fills   it fills the disk
func faulty(name string, run func(context.Context, *slog.Logger) error) func(context.Context, *slog.Logger) error {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return run
	}
	ordered := fault.Ordered(string(cmdline))
	switch {
	case ordered.Has(name + "-ends"):
		return func(context.Context, *slog.Logger) error { return nil }
	case ordered.Has(name + "-hangs"):
		return func(ctx context.Context, _ *slog.Logger) error { <-ctx.Done(); return ctx.Err() }
	case ordered.Has(name + "-hoards"):
		if err := os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0); err == nil { // root only, as yet
			go hoard()
		}
	case ordered.Has(name + "-fills"):
		fill(filepath.Join(layout.Perm, "fault-filled"))
	}
	return run
}

// hoard leaves a while for the rest of the node to start.
func hoard() {
	const piece = 8 << 20
	time.Sleep(5 * time.Second)
	for {
		// Its pages are there when it returns, or somebody was ended for them.
		if _, err := unix.Mmap(-1, 0, piece, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_POPULATE); err != nil {
			time.Sleep(time.Second)
		}
	}
}

// fill takes large pieces of the disk as long as there are any, then smaller ones.
func fill(file string) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return
	}
	at := st.Size()
	for piece := int64(64 << 20); piece >= 4096; {
		if unix.Fallocate(int(f.Fd()), 0, at, piece) != nil {
			piece /= 2
			continue
		}
		at += piece
	}
}
