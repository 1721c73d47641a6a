package edition

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrBusy is returned when editions come out faster than a tree can be read.
var ErrBusy = errors.New("an index is being replaced")

// Archive is the folder of editions for those who read a tree in one go and files
// of it later.
type Archive struct {
	// Dir is the folder of editions.
	Dir string
	// Wait is the pause between two looks at whether an edition is still out;
	// 0 means 20 milliseconds.
	Wait time.Duration
}

// attempts bounds how often Steady looks and reads.
const (
	looks = 500
	reads = 5
)

// Steady calls read at a time when no edition of a project at, above or below
// path is out, and again if one came out meanwhile: what read then sees is one
// edition and no other.
func (a Archive) Steady(ctx context.Context, path string, read func() error) error {
	for range reads {
		before, err := a.quiet(ctx, path)
		if err != nil {
			return err
		}
		if err := read(); err != nil {
			return err
		}
		if after, out := a.state(path); !out && slices.Equal(before, after) {
			return nil
		}
	}
	return fmt.Errorf("read %s: %w", path, ErrBusy)
}

// quiet waits until nothing is out and returns the state that names all editions
// there were.
func (a Archive) quiet(ctx context.Context, path string) ([]named, error) {
	pause := a.Wait
	if pause == 0 {
		pause = 20 * time.Millisecond
	}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for range looks {
		state, out := a.state(path)
		if !out {
			return state, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil, fmt.Errorf("read %s: %w", path, ErrBusy)
}

// state lists what concerns path, and whether any of it is out.
func (a Archive) state(path string) (state []named, out bool) {
	for _, e := range read(a.Dir) {
		if !strings.HasPrefix(e.path+"/", path+"/") && !strings.HasPrefix(path+"/", e.path+"/") {
			continue
		}
		state = append(state, e)
		out = out || e.serial == 0
	}
	return state, out
}

// Older opens the version of a file, named relative to the web root, that had
// this size and time, if an edition has replaced it lately.
func (a Archive) Older(name string, size, sec int64, nsec uint32) (int, error) {
	list := read(a.Dir)
	slices.SortFunc(list, byAge)
	for _, e := range list {
		rel, ok := relative(e.path, name)
		if !ok {
			continue
		}
		fd, err := openBelow(filepath.Join(a.Dir, e.name, oldDir), rel)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size == size && st.Mtim.Sec == sec && uint32(st.Mtim.Nsec) == nsec {
			return fd, nil
		}
		unix.Close(fd)
	}
	return -1, unix.ENOENT
}

func openBelow(dir, name string) (int, error) {
	f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, err
	}
	defer f.Close()
	return open(f, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
}
