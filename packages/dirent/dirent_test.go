package dirent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// A directory of several buffers comes out whole, and each name can be looked at.
func TestEach(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for i := range 3000 {
		name := fmt.Sprintf("%s%04d", "a name of some length \xff ", i)
		want = append(want, name)
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, i%7), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r Reader
	var got []string
	sizes := int64(0)
	err = r.Each(int(f.Fd()), func(name []byte) {
		var st unix.Stat_t
		if err := Lstat(int(f.Fd()), name, &st); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		sizes += st.Size
		got = append(got, string(name[:len(name)-1]))
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("names (-want +got):\n%s", d)
	}
	if want := int64(3000/7*21 + 0 + 1 + 2 + 3); sizes != want {
		t.Errorf("sizes add up to %d, want %d", sizes, want)
	}
}

func TestErrors(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := new(Reader).Each(int(f.Fd()), func([]byte) {}); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("reading a device: %v, want %v", err, unix.ENOTDIR)
	}
	var st unix.Stat_t
	for name, want := range map[string]error{"missing\x00": unix.ENOENT, "open": unix.EINVAL, "": unix.EINVAL} {
		if err := Lstat(unix.AT_FDCWD, []byte(name), &st); !errors.Is(err, want) {
			t.Errorf("Lstat(%q) = %v, want %v", name, err, want)
		}
	}
}

// A link is looked at itself.
func TestLstatLink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("nowhere", path); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := Lstat(unix.AT_FDCWD, append([]byte(path), 0), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK || st.Size != 7 {
		t.Errorf("Lstat of a link: mode %o, size %d, %v", st.Mode, st.Size, err)
	}
}
