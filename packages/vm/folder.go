package vm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// lockName is held while a machine's folder is in use.
const lockName = "in-use.lock"

// makeFolder makes a fresh folder for a machine and removes those of processes
// that died without doing so.
func makeFolder(dir, name string) (string, *os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, fmt.Errorf("new machine: %w", err)
	}
	if err := sweep(dir); err != nil {
		return "", nil, err
	}
	path, err := os.MkdirTemp(dir, plainName(name)+"-")
	if err != nil {
		return "", nil, fmt.Errorf("new machine: %w", err)
	}
	lock, err := tryLock(filepath.Join(path, lockName))
	if err == nil && lock == nil {
		err = errors.New("new machine: its new folder is locked")
	}
	if err != nil {
		os.RemoveAll(path)
		return "", nil, err
	}
	return path, lock, nil
}

// sweep removes the folders in dir that nobody holds. A folder without a lock
// file is one that another process is just making, or not ours.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("sweep machines' folders: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !e.IsDir() || !exists(filepath.Join(path, lockName)) {
			continue
		}
		lock, err := tryLock(filepath.Join(path, lockName))
		if errors.Is(err, fs.ErrNotExist) || lock == nil && err == nil {
			continue
		}
		if err != nil {
			return err
		}
		err = os.RemoveAll(path)
		lock.Close()
		if err != nil {
			return fmt.Errorf("sweep machines' folders: %w", err)
		}
	}
	return nil
}

var notPlain = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// plainName turns a test's name into a file name.
func plainName(name string) string {
	s := strings.Trim(notPlain.ReplaceAllString(name, "-"), "-.")
	return s[:min(len(s), 80)]
}
