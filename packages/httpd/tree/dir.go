package tree

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"micromirror/packages/mirror/edition"
)

// Entry is a line of a directory.
type Entry struct {
	Name    string
	Dir     bool
	Link    bool // a symbolic link, shown as what it leads to
	Sole    bool // a file that has no other name
	Size    int64
	ModTime time.Time
}

// hidden is rsync's directory for partial files: never shown, never served.
const hidden = ".~tmp~"

// ReadDir returns what a directory shows, in no order. Symbolic links appear as
// what they lead to; broken ones, ones that lead out of the tree and special
// files are left out.
//
// What is known is not asked for again; it may be nil.
func (t *Tree) ReadDir(dir *File, known *Known) ([]Entry, error) {
	// A descriptor of its own: the offset of a shared one would be shared too.
	fd, err := unix.Openat(dir.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("read directory %q: %w", dir.Name, classify(err))
	}
	defer unix.Close(fd)
	var d dirReader
	if over := t.overlay(dir.Name); over >= 0 {
		defer unix.Close(over)
		if err := t.collect(&d, dir, over); err != nil {
			return nil, err
		}
		d.mask()
	} else if known != nil {
		d.known, d.there = known, make([]bool, len(known.entries))
	}
	if err := t.collect(&d, dir, fd); err != nil {
		return nil, err
	}
	return d.finish(), nil
}

// overlay opens what an edition holds of a directory, -1 if none does.
func (t *Tree) overlay(name string) int {
	out := t.Editions()
	if out.Empty() {
		return -1
	}
	_, resolved, err := t.Trace(name)
	if err != nil {
		return -1
	}
	fd, err := out.Open(resolved, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return -1
	}
	return fd
}

// collect adds what the directory open as fd holds.
func (t *Tree) collect(d *dirReader, dir *File, fd int) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Getdents(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read directory %q: %w", dir.Name, classify(err))
		}
		if n == 0 {
			return nil
		}
		for rest := buf[:n]; len(rest) > 0; {
			var name []byte
			name, rest = nextName(rest)
			if i, ok := d.known.find(name[:len(name)-1]); ok {
				d.there[i] = true
			} else if e, ok := t.entry(dir, fd, name); ok {
				d.add(e, name[:len(name)-1])
			}
		}
	}
}

// dirReader collects entries. All names share one string: a directory of 50,000
// is one piece of memory instead of as many.
type dirReader struct {
	entries []Entry
	names   []byte
	ends    []int
	masked  map[string]bool // entries that are there already, nil for none
	known   *Known          // nil for nothing
	there   []bool          // which of them
}

// mask makes what was added so far hide entries of the same name that follow.
// Directories do not: they are in the served tree, with all their entries.
func (d *dirReader) mask() {
	d.masked = map[string]bool{}
	var above dirReader
	for _, e := range d.finish() {
		if !e.Dir || e.Link {
			d.masked[e.Name] = true
			above.add(e, []byte(e.Name))
		}
	}
	d.entries, d.names, d.ends = above.entries, above.names, above.ends
}

func (d *dirReader) add(e Entry, name []byte) {
	if d.masked[string(name)] {
		return
	}
	d.entries = append(d.entries, e)
	d.names = append(d.names, name...)
	d.ends = append(d.ends, len(d.names))
}

func (d *dirReader) finish() []Entry {
	names := string(d.names)
	begin := 0
	for i, end := range d.ends {
		d.entries[i].Name = names[begin:end]
		begin = end
	}
	if d.known != nil {
		return d.known.merge(d.there, d.entries)
	}
	return d.entries
}

// nextName takes one record off what getdents64 returned. The name keeps the zero
// byte that ends it.
func nextName(buf []byte) (name, rest []byte) {
	const header = int(unsafe.Offsetof(unix.Dirent{}.Name))
	length := int(binary.NativeEndian.Uint16(buf[unsafe.Offsetof(unix.Dirent{}.Reclen):]))
	raw := buf[header:length]
	if end := bytes.IndexByte(raw, 0); end >= 0 {
		raw = raw[:end+1]
	}
	return raw, buf[length:]
}

// statAt is lstat of a name that ends in a zero byte.
func statAt(dir int, name []byte, st *unix.Stat_t) error {
	_, _, e := unix.Syscall6(unix.SYS_NEWFSTATAT, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(name))),
		uintptr(unsafe.Pointer(st)), unix.AT_SYMLINK_NOFOLLOW, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// entry describes what raw, a name with its zero byte, stands for.
func (t *Tree) entry(dir *File, fd int, raw []byte) (Entry, bool) {
	switch name := raw[:len(raw)-1]; string(name) {
	case ".", "..", hidden, edition.Folder:
		return Entry{}, false
	}
	var e Entry
	var st unix.Stat_t
	if err := statAt(fd, raw, &st); err != nil {
		return Entry{}, false
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		target, err := t.open(path.Join(dir.Name, string(raw[:len(raw)-1])), unix.O_PATH)
		if err != nil {
			return Entry{}, false
		}
		st = target.stat
		target.Close()
		e.Link = true
	}
	kind := st.Mode & unix.S_IFMT
	e.Sole = kind == unix.S_IFREG && st.Nlink == 1 && !e.Link
	e.Dir, e.ModTime = kind == unix.S_IFDIR, time.Unix(st.Mtim.Sec, st.Mtim.Nsec)
	if !e.Dir {
		e.Size = st.Size
	}
	return e, kind == unix.S_IFDIR || kind == unix.S_IFREG
}
