package client

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"golang.org/x/sys/unix"

	"micromirror/packages/rsync/filter"
	"micromirror/packages/rsync/flist"
	"micromirror/packages/rsync/wire"
)

func inode(info fs.FileInfo) (ino, links uint64) {
	st := info.Sys().(*syscall.Stat_t)
	return st.Ino, st.Nlink
}

func sha(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:8]
}

// tree makes files of all kinds that a mirror meets.
func tree(t testing.TB, dir string, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string, size int, mode fs.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		must(os.WriteFile(path, noise(rng, size), 0o600))
		must(os.Chmod(path, mode))
		must(os.Chtimes(path, time.Time{}, time.Unix(1_600_000_000+int64(rng.IntN(1e8)), int64(rng.IntN(2))*int64(rng.IntN(1e9)))))
	}
	for i, size := range []int{0, 1, 699, 700, 701, 4096, 32768, 65537, 500_000, 3_000_000} {
		write(fmt.Sprintf("dists/size%d.deb", i), size, 0o644)
	}
	for i := range 120 {
		write(fmt.Sprintf("pool/%c/p%d/f_%d+x~1 %%.deb", 'a'+i%5, i%7, i), rng.IntN(5000), 0o640)
	}
	write("pool.txt", 10, 0o444)
	write("pool-x/y", 10, 0o755)
	write("bad\xffname/Ünïcode:x", 100, 0o644)
	write(strings.Repeat("deep/", 40)+strings.Repeat("n", 250), 10, 0o644)
	must(os.Mkdir(filepath.Join(dir, "empty"), 0o700))
	must(os.Symlink("../pool.txt", filepath.Join(dir, "dists/link")))
	must(os.Symlink("nowhere", filepath.Join(dir, "broken")))
	must(os.Link(filepath.Join(dir, "pool.txt"), filepath.Join(dir, "pool-x/hard")))
	must(os.Link(filepath.Join(dir, "dists/size4.deb"), filepath.Join(dir, "aaa")))
	must(os.Link(filepath.Join(dir, "dists/size4.deb"), filepath.Join(dir, "zzz")))
	must(unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	setDirTimes(t, dir, 1_500_000_000)
}

func noise(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func setDirTimes(t testing.TB, dir string, at int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: at}}
		if d.IsDir() || d.Type()&fs.ModeSymlink != 0 {
			return unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// pull brings dst to the state of the list by the simplest rule: fetch what
// differs in size or time, then make the rest.
func pull(t testing.TB, cfg Config, o ListOptions, dst string, change func(*Request)) Result {
	t.Helper()
	c, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	list, err := c.List(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	clearStale(t, list, dst)
	stage, err := os.OpenRoot(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer stage.Close()
	req := Request{Stage: stage, Dest: list.Name, Files: wanted(t, list, stage, c.Protocol)}
	if change != nil {
		change(&req)
	}
	result, err := c.Transfer(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, list, dst)
	return result
}

func wanted(t testing.TB, list *flist.List, stage *os.Root, protocol int) []int {
	var files []int
	for i, f := range list.All() {
		if !f.IsRegular() || (f.HardLink >= 0 && int(f.HardLink) != i) {
			continue
		}
		info, err := stage.Lstat(f.Name)
		same := err == nil && info.Size() == f.Size && info.ModTime().Unix() == f.ModTime
		if same && (protocol < 31 || info.ModTime().Nanosecond() == int(f.Nsec)) {
			continue
		}
		files = append(files, i)
	}
	return files
}

// apply makes directories, links and their times, deepest first.
func apply(t testing.TB, list *flist.List, dst string) {
	t.Helper()
	all := slices.Collect(func(yield func(flist.File) bool) {
		for _, f := range list.All() {
			if !yield(f) {
				return
			}
		}
	})
	for _, f := range all {
		path := filepath.Join(dst, f.Name)
		var err error
		switch {
		case f.IsDir():
			err = os.MkdirAll(path, 0o755)
		case f.IsSymlink():
			os.Remove(path)
			err = os.Symlink(f.Link, path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, f := range list.All() {
		if f.IsRegular() && f.HardLink >= 0 && int(f.HardLink) != i {
			os.Remove(filepath.Join(dst, f.Name))
			if err := os.Link(filepath.Join(dst, list.Name(int(f.HardLink))), filepath.Join(dst, f.Name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	slices.Reverse(all)
	for _, f := range all {
		path := filepath.Join(dst, f.Name)
		ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: f.ModTime, Nsec: int64(f.Nsec)}}
		if f.IsDir() || f.IsRegular() {
			os.Chmod(path, fs.FileMode(f.Mode&0o777))
		}
		if f.IsDir() || f.IsSymlink() {
			unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW)
		}
	}
}

// reference is what the tree looks like to a protocol: no pipes, and whole
// seconds before protocol 31.
func reference(t testing.TB, dir string, protocol int) map[string]string {
	t.Helper()
	want := seen(t, dir, protocol)
	delete(want, "fifo")
	return want
}

func wholeSeconds(text string) string {
	fields := strings.SplitN(text, " ", 3)
	fields[1] = fields[1][:len(fields[1])-9] + "000000000"
	return strings.Join(fields, " ")
}

func TestPull(t *testing.T) {
	src := t.TempDir()
	tree(t, src, 1)
	p := startPeer(t, src)
	for protocol := wire.MinProtocol; protocol <= wire.MaxProtocol; protocol++ {
		t.Run(fmt.Sprint(protocol), func(t *testing.T) {
			cfg := p.config()
			cfg.Protocol = protocol
			dst := t.TempDir()
			result := pull(t, cfg, ListOptions{}, dst, nil)
			if len(result.Failed) > 0 || result.Code() != 0 {
				t.Errorf("failed: %v, messages %q", result.Failed, result.Messages)
			}
			if diff := gocmp.Diff(reference(t, src, protocol), describe(t, dst)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if again := pull(t, cfg, ListOptions{}, dst, nil); again.Received != 0 {
				t.Errorf("%d files fetched again", again.Received)
			}
		})
	}
}

// TestOlderServers has the server use only what servers before 3.2 knew.
func TestOlderServers(t *testing.T) {
	src, old := t.TempDir(), filepath.Join(t.TempDir(), "old")
	tree(t, src, 5)
	content, err := os.ReadFile(filepath.Join(src, "dists/size9.deb"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, old, append([]byte("shift"), content...))
	p := startPeer(t, src)
	for _, abilities := range []string{"e.", "e.Ls", "e.LsfxC", "e.LsfxCIv"} {
		for _, protocol := range []int{30, 31, 32} {
			cfg := p.config()
			cfg.Protocol = protocol
			dst := t.TempDir()
			result := pull(t, cfg, ListOptions{abilities: abilities}, dst, func(r *Request) {
				r.Basis = func(i int) (*os.File, error) {
					if r.Dest(i) != "dists/size9.deb" {
						return nil, fs.ErrNotExist
					}
					return os.Open(old)
				}
			})
			if diff := gocmp.Diff(reference(t, src, protocol), seen(t, dst, protocol)); diff != "" {
				t.Errorf("%s, protocol %d: -want +got:\n%s", abilities, protocol, diff)
			}
			if result.Matched < 2_900_000 || result.Repeated > 0 {
				t.Errorf("%s, protocol %d: matched %d, repeated %d", abilities, protocol, result.Matched, result.Repeated)
			}
		}
	}
}

func TestPullFiltered(t *testing.T) {
	src := t.TempDir()
	tree(t, src, 2)
	rules, err := filter.Parse("+ /pool/", "+ /pool/a/***", "- *")
	if err != nil {
		t.Fatal(err)
	}
	p := startPeer(t, src)
	for protocol := wire.MinProtocol; protocol <= wire.MaxProtocol; protocol++ {
		cfg := p.config()
		cfg.Protocol = protocol
		dst := t.TempDir()
		pull(t, cfg, ListOptions{Filter: rules}, dst, nil)
		want := reference(t, src, protocol)
		for name := range want {
			if name != "." && name != "pool" && name != "pool/a" && !strings.HasPrefix(name, "pool/a/") {
				delete(want, name)
			}
		}
		if diff := gocmp.Diff(want, describe(t, dst)); diff != "" {
			t.Errorf("protocol %d: -want +got:\n%s", protocol, diff)
		}
	}
}

func TestModules(t *testing.T) {
	p := startPeer(t, t.TempDir())
	got, err := Modules(t.Context(), p.config())
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff([]Module{{"m", "a module"}}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// unlinked forgets that a file has other names.
func unlinked(text string) string {
	before, after, found := strings.Cut(text, " linked to ")
	if !found {
		return text
	}
	_, after, _ = strings.Cut(after, " ")
	return before + " " + after
}
