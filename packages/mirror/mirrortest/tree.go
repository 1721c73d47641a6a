// Package mirrortest makes, describes and serves the trees that the tests of
// packages/mirror work with. It is for tests only: every function ends the test
// on an error. It owns no files but those below the folders it is given.
package mirrortest

import (
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Epoch is the time that Make's entries count from.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Make adds entries to the tree at dir, directories above them included:
//
//	name/            directory
//	name: content    file; its time follows from its content
//	name -> target   symbolic link
//	name = other     further name of a file
//	-name            nothing any more
//
// A mode may come first, as in "0640 name: content".
func Make(t testing.TB, dir string, entries ...string) {
	t.Helper()
	for _, e := range entries {
		if err := makeOne(dir, e); err != nil {
			t.Fatalf("make %q: %v", e, err)
		}
	}
	Settle(t, dir)
}

func makeOne(dir, entry string) error {
	mode, entry := cutMode(entry)
	if name, ok := strings.CutPrefix(entry, "-"); ok {
		return os.RemoveAll(filepath.Join(dir, name))
	}
	name, content, isFile := strings.Cut(entry, ": ")
	from, target, isLink := strings.Cut(entry, " -> ")
	link, other, isHard := strings.Cut(entry, " = ")
	switch {
	case isFile:
		return makeFile(filepath.Join(dir, name), content, mode)
	case isLink:
		return replace(filepath.Join(dir, from), func(p string) error { return os.Symlink(target, p) })
	case isHard:
		return replace(filepath.Join(dir, link), func(p string) error { return os.Link(filepath.Join(dir, other), p) })
	default:
		if err := os.MkdirAll(filepath.Join(dir, entry), 0o755); err != nil || mode == 0 {
			return err
		}
		return os.Chmod(filepath.Join(dir, entry), mode)
	}
}

func cutMode(entry string) (fs.FileMode, string) {
	var mode fs.FileMode
	if len(entry) > 5 && entry[0] == '0' && entry[4] == ' ' {
		fmt.Sscanf(entry, "%o", &mode)
		return mode, entry[5:]
	}
	return 0, entry
}

// makeFile replaces, as an upstream does, so that other names keep the old
// content.
func makeFile(path, content string, mode fs.FileMode) error {
	if mode == 0 {
		mode = 0o644
	}
	return replace(path, func(p string) error {
		if err := os.WriteFile(p, []byte(content), mode); err != nil {
			return err
		}
		when := epoch.Add(time.Duration(crc32.ChecksumIEEE([]byte(content))) * time.Microsecond)
		return os.Chtimes(p, when, when)
	})
}

func replace(path string, create func(string) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	return create(path)
}

// Settle gives directories and symbolic links of the tree times that depend on
// nothing but what they hold.
func Settle(t testing.TB, dir string) {
	t.Helper()
	var dirs []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type()&fs.ModeSymlink != 0 {
			return touch(p)
		}
		if err == nil && d.IsDir() {
			dirs = append(dirs, p)
		}
		return err
	})
	for _, d := range slices.Backward(dirs) {
		if err == nil {
			err = touch(d)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func touch(path string) error {
	ts := unix.NsecToTimespec(epoch.UnixNano())
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

// Describe tells of each name below dir what a mirror must keep: type, mode,
// time, content or target, and which names share an inode. Directories' times
// are left out unless times is set.
func Describe(t testing.TB, dir string, times bool) map[string]string {
	t.Helper()
	got := map[string]string{}
	inodes := map[uint64]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, p)
		got[name], err = describe(p, name, info, inodes, times)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func describe(path, name string, info fs.FileInfo, inodes map[uint64]string, times bool) (string, error) {
	stamp := info.ModTime().UTC().Format(time.RFC3339Nano)
	switch {
	case info.IsDir():
		if !times {
			stamp = ""
		}
		return fmt.Sprintf("%v %s", info.Mode(), stamp), nil
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		return fmt.Sprintf("-> %s %s", target, stamp), err
	}
	content, err := os.ReadFile(path)
	text := fmt.Sprintf("%v %s %d bytes %08x", info.Mode(), stamp, len(content), crc32.ChecksumIEEE(content))
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
		if inodes[st.Ino] == "" {
			inodes[st.Ino] = name
		}
		text += " linked to " + inodes[st.Ino]
	}
	return text, err
}
