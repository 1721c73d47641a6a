package httpd

import (
	"fmt"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// descriptors is room for 20,000 connections, the cache's open files and what
// net/http takes.
const descriptors = 65536

// garbage is how much, in percent of what is in use, may be left lying until it
// is collected. What is in use is little; the memory limit that the daemon sets
// bounds the rest.
const garbage = 400

// PrepareProcess tunes the process for its job: it asks for as many descriptors
// as a node's load needs, or as many as there are to be had.
func PrepareProcess() error {
	debug.SetGCPercent(garbage)
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
