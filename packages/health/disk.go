package health

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Writable returns a check that the file system below dir takes a write and
// gives it back; one with errors has turned itself read-only.
func Writable(dir string) func(context.Context) error {
	return func(context.Context) error {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			return fmt.Errorf("file system of %s: %w", dir, err)
		}
		if st.Flags&unix.ST_RDONLY != 0 {
			return fmt.Errorf("file system of %s is read-only", dir)
		}
		f, err := os.CreateTemp(dir, ".health-*")
		if err != nil {
			return fullOr(err)
		}
		defer os.Remove(f.Name())
		defer f.Close()
		if _, err := f.WriteString("written"); err != nil {
			return fullOr(err)
		}
		if err := f.Sync(); err != nil {
			return fullOr(err)
		}
		b, err := os.ReadFile(f.Name())
		if err == nil && string(b) != "written" {
			err = errors.New("file comes back changed")
		}
		return err
	}
}

// fullOr makes a full disk a warning: a reboot does not empty it.
func fullOr(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return Warning(err)
	}
	return err
}

// minRoom is what the node's own state needs. It is less than what an update
// leaves free, so a disk that was merely nearly full does not fail a trial.
const minRoom = 16 << 20

// Room returns a check that the file system of dir is not full.
func Room(dir string) func(context.Context) error {
	return func(context.Context) error {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			return fmt.Errorf("file system of %s: %w", dir, err)
		}
		if free := int64(st.Bavail) * st.Bsize; free < minRoom || st.Files > 0 && st.Ffree == 0 {
			return fmt.Errorf("the disk is full: %d MiB and room for %d files left", free>>20, st.Ffree)
		}
		return nil
	}
}

// Space returns a check that at least percent of the blocks and of the inodes
// are free.
func Space(dir string, percent uint64) func(context.Context) error {
	return func(context.Context) error {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			return fmt.Errorf("file system of %s: %w", dir, err)
		}
		if st.Bavail*100 < st.Blocks*percent {
			return fmt.Errorf("%d MiB free, less than %d %%", st.Bavail*uint64(st.Bsize)>>20, percent)
		}
		if st.Ffree*100 < st.Files*percent {
			return fmt.Errorf("room for %d more files, less than %d %%", st.Ffree, percent)
		}
		const gib = 1 << 30
		size := uint64(st.Bsize)
		return Fact(fmt.Sprintf("%.1f of %.1f GiB free", float64(st.Bavail*size)/gib, float64(st.Blocks*size)/gib))
	}
}

// Ext4Errors returns a check that ext4 has met no inconsistency since the last
// repair, on any mounted file system. sys is /sys.
func Ext4Errors(sys string) func(context.Context) error {
	return func(context.Context) error {
		files, err := filepath.Glob(filepath.Join(sys, "fs/ext4/*/errors_count"))
		if err != nil {
			return err
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				continue // unmounted meanwhile
			}
			n, err := strconv.Atoi(strings.TrimSpace(string(b)))
			if err == nil && n > 0 {
				return fmt.Errorf("%d file system errors on %s; the next boot repairs them", n, filepath.Base(filepath.Dir(file)))
			}
		}
		return nil
	}
}
