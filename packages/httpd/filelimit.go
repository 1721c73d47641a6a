package httpd

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// descriptors is room for 20,000 connections, the cache's open files and what
// net/http takes.
const descriptors = 65536

// RaiseFileLimit asks for as many descriptors as a node's load needs, or as many
// as there are to be had.
func RaiseFileLimit() error {
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
