package repository

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

var (
	numberedForm = regexp.MustCompile(`^([1-9][0-9]*)\.(snapshot|targets)\.json$`)
	storedForm   = regexp.MustCompile(`^([0-9a-f]{64}\.|\.new-)`)
)

// prune removes what no reader can ask for any more: snapshots that have expired,
// the lists of files that only those name, and files that no list names which is
// left. A node in the middle of a download, and one behind a mirror that lags,
// still finds what its metadata promises. Root metadata stays for ever, and so
// does what this package did not put there.
func (r *Repository) prune(s *set) error {
	lists := map[int64]bool{s.targets.Signed.Version: true}
	err := r.eachNumbered("snapshot", func(version int64, file string) error {
		if version >= s.snapshot.Signed.Version {
			return nil
		}
		old, err := metadata.Snapshot().FromFile(file)
		if err == nil && old.Signed.Expires.After(r.now()) {
			if at, ok := old.Signed.Meta[targetsMeta]; ok {
				lists[at.Version] = true
			}
			return nil
		}
		return os.Remove(file)
	})
	if err != nil {
		return fmt.Errorf("remove old metadata: %w", err)
	}
	named := map[string]bool{}
	err = r.eachNumbered("targets", func(version int64, file string) error {
		switch {
		case version > s.targets.Signed.Version: // of a change that was interrupted
			return nil
		case !lists[version]:
			return os.Remove(file)
		}
		list, err := metadata.Targets().FromFile(file)
		if err != nil {
			return err
		}
		for target, t := range list.Signed.Targets {
			named[r.file(target, t.Hashes["sha256"].String())] = true
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove old metadata: %w", err)
	}
	if err := removeUnnamed(filepath.Join(r.Dir, "targets"), named); err != nil {
		return fmt.Errorf("remove old files: %w", err)
	}
	return nil
}

// eachNumbered calls f with each version of a role's metadata.
func (r *Repository) eachNumbered(role string, f func(version int64, file string) error) error {
	dir := filepath.Join(r.Dir, "metadata")
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, d := range files {
		m := numberedForm.FindStringSubmatch(d.Name())
		if m == nil || m[2] != role {
			continue
		}
		version, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			continue // never ours
		}
		if err := f(version, filepath.Join(dir, d.Name())); err != nil {
			return err
		}
	}
	return nil
}

// removeUnnamed removes files of the form that store gives them, and the folders
// that become empty.
func removeUnnamed(dir string, named map[string]bool) error {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	left := len(files)
	for _, d := range files {
		file := filepath.Join(dir, d.Name())
		switch {
		case d.IsDir():
			err = removeUnnamed(file, named)
		case d.Type().IsRegular() && storedForm.MatchString(d.Name()) && !named[file]:
			err = os.Remove(file)
		}
		if err != nil {
			return err
		}
		if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
			left--
		}
	}
	if left > 0 || filepath.Base(dir) == "targets" {
		return nil
	}
	return os.Remove(dir)
}
