package mirror

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/durable"
	"micromirror/packages/mirror/publish"
	"micromirror/packages/mirror/tree"
)

// stage is the part of a project's private folder that is for fetching, and all
// that a worker can write to. Contents:
//
//	lock          locked while a run is on
//	new/xx/…      fetched files, named by the hash of their path
//	proposal      the plan of this run
//	check/…       upstream's versions of a sample, while it is compared
//	synced        when everything in new was last known to be on the disk
//
// Beside it, in the project's folder, package publish keeps what it is at.
//
// Names by hash keep the stage flat, free of what upstream calls its files, and
// let the next run find what this one left.
type stage struct {
	dir  string
	lock *os.File
}

// neverSec is in 1901: a time that a file system can hold, and a file hardly has.
const neverSec = -1 << 31

const (
	newDir       = "new"
	proposalFile = "proposal"
	syncedFile   = "synced"
)

// Staging is where, in a project's stage folder, the work of a worker lies.
func Staging(dir string) string { return filepath.Join(dir, publish.FetchDir) }

// openStage makes the folder in a project's stage folder and locks it.
func openStage(project string) (*stage, error) {
	dir := Staging(project)
	if err := os.MkdirAll(filepath.Join(dir, newDir), 0o700); err != nil {
		return nil, fmt.Errorf("open stage: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open stage: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrBusy
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return &stage{dir: dir, lock: f}, nil
}

// close unlocks explicitly: a program that is being started elsewhere in this
// process holds all descriptors for a moment, and with them the lock.
func (s *stage) close() {
	unix.Flock(int(s.lock.Fd()), unix.LOCK_UN)
	s.lock.Close()
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

// stageName is where the content of a path is fetched to. What lies in one
// directory of the tree lies in one folder of the stage, too: plans go through
// both directory by directory.
func stageName(name string) string {
	folder := fnv.New32a()
	io.WriteString(folder, path.Dir(name))
	sum := sha256.Sum256([]byte(name))
	return fmt.Sprintf("%s/%02x/%x", newDir, folder.Sum32()&0xff, sum[:20])
}

// makeFolders makes the 256 folders of new.
func (s *stage) makeFolders() error {
	for i := range 256 {
		err := os.Mkdir(s.path(fmt.Sprintf("%s/%02x", newDir, i)), 0o700)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("prepare stage: %w", err)
		}
	}
	return nil
}

// trusted returns the time up to which changes in new are known to be on the
// disk, in nanoseconds. A file that was complete when the power failed may have
// lost its data although its size and time survived.
func (s *stage) trusted() int64 {
	data, err := os.ReadFile(s.path(syncedFile))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// checkpoint makes everything fetched so far safe and notes it. What it notes is
// a time on the file system's own clock, which ticks every few milliseconds: it
// waits for a tick, so that all that was fetched is older.
func (s *stage) checkpoint() error {
	name := s.path(syncedFile + ".new")
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	defer f.Close()
	tick, err := nextTick(f)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := durable.SyncFS(s.dir); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if _, err := f.WriteAt(strconv.AppendInt(nil, tick, 10), 0); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return durable.Rename(name, s.path(syncedFile))
}

// nextTick returns the time of the file system's clock, in nanoseconds, after it
// has moved on.
func nextTick(f *os.File) (int64, error) {
	var first, st unix.Stat_t
	for {
		// Setting the mode that it has changes the time of the last change.
		if err := f.Chmod(0o600); err != nil {
			return 0, err
		}
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return 0, err
		}
		if first.Ino == 0 {
			first = st
		}
		if st.Ctim != first.Ctim {
			return st.Ctim.Nano(), nil
		}
		time.Sleep(time.Millisecond)
	}
}

// clean removes what no run will ask for again.
func (s *stage) clean() error {
	return errors.Join(tree.Discard(s.path(newDir)), os.MkdirAll(s.path(newDir), 0o700))
}

// leftovers returns what earlier runs left in new, with sizes.
func (s *stage) leftovers(root *tree.Root) (map[string]int64, error) {
	left := map[string]int64{}
	var entries []tree.Entry
	for i := range 256 {
		dir := fmt.Sprintf("%s/%02x", newDir, i)
		var err error
		if entries, err = root.List(dir, entries[:0]); err != nil {
			return nil, err
		}
		for _, e := range entries {
			left[dir+"/"+e.Name] = e.Size
		}
	}
	return left, nil
}

// unfinished gives a leftover a time that no file of upstream's has: the next
// checkpoint makes safe what there is of it, which may not be what it seems.
func (s *stage) unfinished(name string) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: neverSec}}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, s.path(name), times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("prepare stage: %s: %w", name, err)
	}
	return nil
}

// discard removes leftovers that no plan wants any more.
func (s *stage) discard(left map[string]int64) error {
	for name := range left {
		if err := os.RemoveAll(s.path(name)); err != nil {
			return fmt.Errorf("clean stage: %w", err)
		}
	}
	return nil
}
