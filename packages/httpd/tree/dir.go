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
)

// Entry is a line of a directory.
type Entry struct {
	Name    string
	Dir     bool
	Link    bool // a symbolic link, shown as what it leads to
	Size    int64
	ModTime time.Time
}

// hidden is rsync's directory for partial files: never shown, never served.
const hidden = ".~tmp~"

// ReadDir returns what a directory shows, in no order. Symbolic links appear as
// what they lead to; broken ones, ones that lead out of the tree and special
// files are left out.
func (t *Tree) ReadDir(dir *File) ([]Entry, error) {
	// A descriptor of its own: the offset of a shared one would be shared too.
	fd, err := unix.Openat(dir.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("read directory %q: %w", dir.Name, classify(err))
	}
	defer unix.Close(fd)
	var entries []Entry
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Getdents(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read directory %q: %w", dir.Name, classify(err))
		}
		if n == 0 {
			return entries, nil
		}
		for rest := buf[:n]; len(rest) > 0; {
			var name string
			name, rest = nextName(rest)
			if e, ok := t.entry(dir, fd, name); ok {
				entries = append(entries, e)
			}
		}
	}
}

// nextName takes one record off what getdents64 returned.
func nextName(buf []byte) (name string, rest []byte) {
	const header = int(unsafe.Offsetof(unix.Dirent{}.Name))
	length := int(binary.NativeEndian.Uint16(buf[unsafe.Offsetof(unix.Dirent{}.Reclen):]))
	raw := buf[header:length]
	if end := bytes.IndexByte(raw, 0); end >= 0 {
		raw = raw[:end]
	}
	return string(raw), buf[length:]
}

func (t *Tree) entry(dir *File, fd int, name string) (Entry, bool) {
	if name == "." || name == ".." || name == hidden {
		return Entry{}, false
	}
	e := Entry{Name: name}
	var st unix.Stat_t
	if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return Entry{}, false
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		target, err := t.open(path.Join(dir.Name, name), unix.O_PATH)
		if err != nil {
			return Entry{}, false
		}
		st = target.stat
		target.Close()
		e.Link = true
	}
	kind := st.Mode & unix.S_IFMT
	e.Dir, e.ModTime = kind == unix.S_IFDIR, time.Unix(st.Mtim.Sec, st.Mtim.Nsec)
	if !e.Dir {
		e.Size = st.Size
	}
	return e, kind == unix.S_IFDIR || kind == unix.S_IFREG
}
