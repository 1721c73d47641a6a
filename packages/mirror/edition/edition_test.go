package edition

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"micromirror/packages/mirror/mirrortest"
	"micromirror/packages/mirror/tree"
)

// lay makes a draft with files for new and old.
func lay(t *testing.T, p Press, files, replaced []string) {
	t.Helper()
	d, err := p.Draft()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	mirrortest.Make(t, d.New.Name(), files...)
	mirrortest.Make(t, d.Old.Name(), replaced...)
}

func read1(t *testing.T, s *Set, name string) string {
	t.Helper()
	fd, err := s.Open(name, unix.O_RDONLY)
	if err != nil {
		return err.Error()
	}
	defer unix.Close(fd)
	buf := make([]byte, 100)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return err.Error()
	}
	return string(buf[:n])
}

func TestOneStep(t *testing.T) {
	dir := filepath.Join(mirrortest.TempDir(t), Folder)
	p := Press{Dir: dir, Path: "rpmfusion/nonfree"}
	lay(t, p, []string{"repodata/repomd.xml: new", "latest -> repodata"}, []string{"repodata/repomd.xml: old"})
	if s := Load(dir); !s.Empty() || p.Out() {
		t.Error("a draft is served")
	}
	if err := p.BringOut(); err != nil {
		t.Fatal(err)
	}
	s := Load(dir)
	for name, want := range map[string]string{
		"rpmfusion/nonfree/repodata/repomd.xml": "new", "rpmfusion/nonfree/repodata/none": "no such file or directory",
		"rpmfusion/nonfreeX/repodata/repomd.xml": "no such file or directory", "debian": "no such file or directory",
		"rpmfusion/nonfree/latest/repomd.xml": "too many levels of symbolic links",
	} {
		if got := read1(t, s, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if !s.Covers("rpmfusion/nonfree/x") || s.Covers("rpmfusion") || s.Empty() || !p.Out() {
		t.Error("the edition is not where it should be")
	}
	buf := make([]byte, 100)
	n, err := s.Readlink("rpmfusion/nonfree/latest", buf)
	if err != nil || string(buf[:n]) != "repodata" {
		t.Errorf("link %q, %v", buf[:n], err)
	}
	for name, want := range map[string]error{"rpmfusion/nonfree/repodata": unix.EINVAL, "rpmfusion/nonfree/x": unix.ENOENT} {
		if _, err := s.Readlink(name, buf); !errors.Is(err, want) {
			t.Errorf("link %s: %v, want %v", name, err, want)
		}
	}
	if err := p.Withdraw(); err != nil {
		t.Fatal(err)
	}
	if !Load(dir).Empty() || p.Out() || p.Withdraw() != nil {
		t.Error("the edition was not withdrawn")
	}
	if got := read1(t, s, "rpmfusion/nonfree/repodata/repomd.xml"); got != "no such file or directory" {
		t.Errorf("a late reader gets %q", got)
	}
}

func TestOldVersionsStayForAWhile(t *testing.T) {
	dir := filepath.Join(mirrortest.TempDir(t), Folder)
	p := Press{Dir: dir, Path: "debian"}
	a := Archive{Dir: dir}
	contents := []string{"one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}
	times := map[string]os.FileInfo{}
	for i := range len(contents) - 1 {
		lay(t, p, []string{"InRelease: " + contents[i+1]}, []string{"InRelease: " + contents[i]})
		info, err := os.Stat(filepath.Join(dir, "debian~", oldDir, "InRelease"))
		if err != nil {
			t.Fatal(err)
		}
		times[contents[i]] = info
		if err := errors.Join(p.BringOut(), p.Withdraw()); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range contents[:len(contents)-1] {
		when := times[c].ModTime()
		fd, err := a.Older("debian/InRelease", int64(len(c)), when.Unix(), uint32(when.Nanosecond()))
		if kept := i >= len(contents)-1-keep; kept != (err == nil) {
			t.Errorf("version %s: %v, want kept %v", c, err, kept)
		}
		if err == nil {
			unix.Close(fd)
		}
	}
	when := times["nine"].ModTime()
	if fd, err := a.Older("debian/InRelease", 4, when.Unix()+1, 0); err == nil {
		unix.Close(fd)
		t.Error("another version was given out")
	}
}

func TestSteady(t *testing.T) {
	dir := filepath.Join(mirrortest.TempDir(t), Folder)
	p := Press{Dir: dir, Path: "rpmfusion/nonfree"}
	a := Archive{Dir: dir, Wait: time.Millisecond}
	turn := func() {
		lay(t, p, []string{"x: y"}, nil)
		if err := errors.Join(p.BringOut(), p.Withdraw()); err != nil {
			t.Error(err)
		}
	}
	for name, tt := range map[string]struct {
		path  string
		turns int // editions that come out while the tree is read
		reads int
		err   error
	}{
		"quiet":              {"rpmfusion", 0, 1, nil},
		"changed once":       {"rpmfusion", 1, 2, nil},
		"changed above":      {"rpmfusion/nonfree/el", 1, 2, nil},
		"another tree":       {"debian", 9, 1, nil},
		"name begins alike":  {"rpmfusion/non", 9, 1, nil},
		"changes for ever":   {"rpmfusion", 9, reads, ErrBusy},
		"the project itself": {"rpmfusion/nonfree", 2, 3, nil},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			err := a.Steady(t.Context(), tt.path, func() error {
				if n++; n <= tt.turns {
					turn()
				}
				return nil
			})
			if n != tt.reads || !errors.Is(err, tt.err) {
				t.Errorf("%d reads, %v; want %d, %v", n, err, tt.reads, tt.err)
			}
		})
	}
	lay(t, p, []string{"x: y"}, nil)
	if err := p.BringOut(); err != nil {
		t.Fatal(err)
	}
	if err := a.Steady(t.Context(), "rpmfusion", func() error { t.Error("read while an edition is out"); return nil }); !errors.Is(err, ErrBusy) {
		t.Errorf("error = %v, want %v", err, ErrBusy)
	}
}

func TestForget(t *testing.T) {
	dir := filepath.Join(mirrortest.TempDir(t), Folder)
	for _, path := range []string{"gone", "kept/here"} {
		p := Press{Dir: dir, Path: path}
		for range 2 {
			lay(t, p, nil, nil)
			if err := errors.Join(p.BringOut(), p.Withdraw()); err != nil {
				t.Fatal(err)
			}
		}
		lay(t, p, nil, nil)
	}
	mirrortest.Make(t, dir, "..strange@x/y: z", "kept%2fhere/y: z")
	if err := Forget(dir, func(path string) bool { return path == "kept/here" }); err != nil {
		t.Fatal(err)
	}
	var got []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff([]string{"kept%2Fhere@1", "kept%2Fhere@2", "kept%2Fhere~"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("debian")
	f.Add("rpmfusion%2Fnonfree@7")
	f.Add("..%2F..%2Fetc@1")
	f.Fuzz(func(t *testing.T, name string) {
		path, serial, ok := parse(name)
		if !ok {
			return
		}
		p := Press{Path: path}
		want := p.file("")
		if serial > 0 {
			want = p.serial(serial)
		}
		if !tree.Clean(path) || filepath.Base(want) != want {
			t.Errorf("%q is for %q, which is %q", name, path, want)
		}
	})
}
