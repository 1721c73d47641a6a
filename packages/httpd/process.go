package httpd

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// descriptors is room for 20,000 connections, the cache's open files and what
// net/http takes.
const descriptors = 65536

// loops is the number of event loops: one for each processor.
func loops() int { return max(2, runtime.NumCPU()) }

// garbage is how much, in percent of what is in use, may be left lying until it
// is collected. What is in use is little; the memory limit that the daemon sets
// bounds the rest.
const garbage = 400

// others is how many threads run Go code beside the event loops. Under load the
// loops hardly ever let go of theirs, and whoever waits for a helper must not wait
// for them.
const others = 2

// PrepareProcess tunes the process for its job: garbage, threads, and as many
// descriptors as a node's load needs, or as many as there are to be had.
func PrepareProcess() error {
	debug.SetGCPercent(garbage)
	runtime.GOMAXPROCS(loops() + others)
	return raiseDescriptors()
}

// raiseDescriptors lets the process open as many files as may be had, up to
// descriptors.
func raiseDescriptors() error {
	want := unix.Rlimit{Cur: descriptors, Max: descriptors}
	err := unix.Setrlimit(unix.RLIMIT_NOFILE, &want)
	if err == nil {
		return nil
	}
	var have unix.Rlimit
	if e := unix.Getrlimit(unix.RLIMIT_NOFILE, &have); e != nil {
		return fmt.Errorf("read limit of open files: %w", e)
	}
	have.Cur = have.Max
	if e := unix.Setrlimit(unix.RLIMIT_NOFILE, &have); e != nil {
		return fmt.Errorf("raise limit of open files: %w", e)
	}
	return fmt.Errorf("limit of open files is %d, want %d: %w", have.Max, descriptors, err)
}
