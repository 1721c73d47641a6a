package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// maxMachines is how many machines may run at once on this computer, over all
// processes: each wants about a core.
const maxMachines = 2

// Seats are places for running machines. A scenario with two machines takes both
// at once, before it starts the first, so that two such scenarios cannot block
// each other half-way.
type Seats struct{ files []*os.File }

// Reserve waits until n machines may run. The reservation ends with Release or
// with the process.
func Reserve(ctx context.Context, dir string, n int) (*Seats, error) {
	if n < 1 || n > maxMachines {
		return nil, fmt.Errorf("reserve %d machines: 1 to %d can run at once", n, maxMachines)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("reserve machines: %w", err)
	}
	// Only one process at a time gathers seats; the others queue here.
	door, err := lockOne(ctx, dir, "door.lock")
	if err != nil {
		return nil, err
	}
	defer door.Close()
	s := &Seats{}
	for range n {
		f, err := lockOne(ctx, dir, seatNames()...)
		if err != nil {
			s.Release()
			return nil, err
		}
		s.files = append(s.files, f)
	}
	return s, nil
}

// Release gives the places back.
func (s *Seats) Release() {
	for _, f := range s.files {
		f.Close() // closing drops the lock
	}
	s.files = nil
}

func seatNames() []string {
	var out []string
	for i := range maxMachines {
		out = append(out, fmt.Sprintf("seat-%d.lock", i))
	}
	return out
}

// lockOne locks the first of the named files that is free, waiting for one.
func lockOne(ctx context.Context, dir string, names ...string) (*os.File, error) {
	for {
		for _, name := range names {
			f, err := tryLock(filepath.Join(dir, name))
			if err != nil || f != nil {
				return f, err
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a free %s: %w", names[0], context.Cause(ctx))
		case <-time.After(100 * time.Millisecond): // flock(2) cannot wait for either of two
		}
	}
}

// tryLock returns the locked file, or nil if somebody else holds it.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}
