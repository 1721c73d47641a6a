package sync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// source makes a scenario's data, unless an earlier one did, and returns the
// folder. What is made beside it goes with it.
func (o *Options) source(id string, s scenario) (string, error) {
	src := filepath.Join(o.Dir, id, "src")
	if err := os.MkdirAll(filepath.Dir(src), 0o755); err != nil {
		return "", err
	}
	return src, makeOnce(src, o.Scale, s.make)
}

// offered is a source that rsync serves.
type offered struct {
	src, addr, url string
	stop           func()
}

func (o *Options) offer(ctx context.Context, s scenario) (*offered, error) {
	src, err := o.source(s.id, s)
	if err != nil {
		return nil, err
	}
	addr, stop, err := daemon(ctx, filepath.Dir(src))
	if err != nil {
		return nil, err
	}
	host, port, _ := net.SplitHostPort(addr)
	return &offered{src, addr, fmt.Sprintf("rsync://%s:%s/src/", host, port), stop}, nil
}

// beside is a folder next to the source.
func (f *offered) beside(name string) string { return filepath.Join(filepath.Dir(f.src), name) }

// byTurns runs each of so many commands by turns and takes the medians. What they
// left in dst goes.
func (o *Options) byTurns(dst string, commands int, run func(which int) (Figures, error)) ([]Figures, error) {
	runs := make([][]Figures, commands)
	for range o.Rounds {
		for which := range runs {
			f, err := run(which)
			if err != nil {
				return nil, err
			}
			runs[which] = append(runs[which], f)
		}
	}
	medians := make([]Figures, commands)
	for which := range runs {
		medians[which] = median(runs[which])
	}
	return medians, errors.Join(os.RemoveAll(dst), os.RemoveAll(aside(dst)))
}

// remove takes away what a run left at dst. Thousands of files are put aside until
// all runs are done: ext4 without a journal does not use a freed inode for minutes
// and looks at each that it skips, which would be on the next run's account.
func (s scenario) remove(dst string) error {
	if _, err := os.Lstat(dst); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !s.aside {
		return os.RemoveAll(dst)
	}
	if err := os.MkdirAll(aside(dst), 0o755); err != nil {
		return err
	}
	place, err := os.MkdirTemp(aside(dst), "")
	if err != nil {
		return err
	}
	return os.Rename(dst, filepath.Join(place, "run"))
}

func aside(dst string) string { return dst + ".aside" }
