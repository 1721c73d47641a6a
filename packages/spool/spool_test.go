package spool

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const name = "some.log"

func open(t *testing.T, dir string, size int64, files int) *Log {
	t.Helper()
	l := Open(Config{Dir: dir, Name: name, FileSize: size, Files: files, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { l.Close() })
	return l
}

func TestRotationBoundsTheDisk(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 100, 3)
	for i := range 50 {
		if i == 25 { // a restart in between continues
			l.Close()
			l = open(t, dir, 100, 3)
		}
		l.Write([]byte(strings.Repeat(string(rune('a'+i%26)), 29) + "\n"))
	}
	var total int64
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if len(names) != 3 || total > 300 {
		t.Errorf("%d files with %d bytes, want 3 with at most 300", len(names), total)
	}
	last, _ := os.ReadFile(filepath.Join(dir, name))
	if !bytes.HasSuffix(last, []byte("xxx\n")) {
		t.Errorf("newest file ends in %q", last)
	}
}

func TestBrokenDiskIsReportedOnce(t *testing.T) {
	var out bytes.Buffer
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l := Open(Config{Dir: dir, Name: name, FileSize: 10, Files: 2, Log: slog.New(slog.NewTextHandler(&out, nil))})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		l.Write([]byte("123456789\n"))
	}
	if n := strings.Count(out.String(), "level=ERROR"); n != 1 {
		t.Errorf("reported %d times, want once:\n%s", n, &out)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l.Write([]byte("again\n"))
	if got, _ := os.ReadFile(filepath.Join(dir, name)); string(got) != "again\n" {
		t.Errorf("after the disk came back: %q", got)
	}
}

// A full disk takes a part of a line, and keeps nobody from starting.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 12<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	config := Config{Dir: dir, Name: name, FileSize: 1 << 20, Files: 2, Log: slog.New(slog.NewTextHandler(&out, nil))}
	l := Open(config)
	line := []byte(strings.Repeat("x", 2999) + "\n")
	for range 3 { // the second finds room for a part of it
		l.Write(line)
	}
	l.Close()
	again := Open(config)
	t.Cleanup(func() { again.Close() })
	again.Write(line)
	if n := strings.Count(out.String(), "level=ERROR"); n != 2 {
		t.Errorf("reported %d times, want once by each writer:\n%s", n, &out)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	again.Write([]byte("room\n"))
	got := strings.Split(readAll(t, follow(dir, 2)), "\n")
	if d := cmp.Diff([]string{string(line[:2999]), string(line[:1096]), "room", ""}, got); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
}

func TestCrashInsideALine(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("whole\nhal"), 0o644); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir, 1000, 2)
	l.Write([]byte("next\n"))
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("whole\nhal\nnext\n", readAll(t, follow(dir, 2))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func follow(dir string, files int) *Reader {
	return Follow(dir, name, files, filepath.Join(dir, "place"))
}

func readAll(t *testing.T, r *Reader) string {
	t.Helper()
	var all []byte
	for {
		lines, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if lines == nil {
			return string(all)
		}
		all = append(all, lines...)
	}
}

// A reader gets every line once, whatever rotations and restarts of either side
// come in between.
func TestReaderFollows(t *testing.T) {
	dir := t.TempDir()
	r := follow(dir, 100)
	if got := readAll(t, r); got != "" {
		t.Fatalf("before there is a log: %q", got)
	}
	l := open(t, dir, 100, 100)
	var want, got strings.Builder
	for i := range 300 {
		line := fmt.Sprintf("line %d\n", i)
		want.WriteString(line)
		l.Write([]byte(line))
		switch {
		case i%7 == 0:
			got.WriteString(readAll(t, r))
		case i%50 == 11:
			got.WriteString(readAll(t, r))
			if err := r.Save(); err != nil {
				t.Fatal(err)
			}
			r.Close()
			r = follow(dir, 100)
		case i%50 == 30:
			l.Close()
			l = open(t, dir, 100, 100)
		}
	}
	if r.Behind() == 0 {
		t.Error("nothing is left to read, the test has lost its point")
	}
	got.WriteString(readAll(t, r))
	if diff := cmp.Diff(want.String(), got.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if r.Lost() || r.Behind() != 0 {
		t.Errorf("lost %v, behind %d", r.Lost(), r.Behind())
	}
}

// A power cut may take the end of a log away that was read already; what grows in
// its place is new.
func TestReaderAfterACrash(t *testing.T) {
	for _, rewound := range []bool{false, true} {
		dir := t.TempDir()
		l := open(t, dir, 1000, 3)
		l.Write([]byte("first\nsecond\nthird\n"))
		r := follow(dir, 3)
		readAll(t, r)
		if rewound {
			r.Rewind(r.Place())
		}
		if err := r.Save(); err != nil {
			t.Fatal(err)
		}
		r.Close()
		l.Write([]byte("not read yet\n"))
		r = follow(dir, 3)
		if diff := cmp.Diff("not read yet\n", readAll(t, r)); diff != "" {
			t.Errorf("rewound %v: -want +got:\n%s", rewound, diff)
		}
		if err := r.Save(); err != nil {
			t.Fatal(err)
		}
		r.Close()
		l.Close()

		if err := os.Truncate(filepath.Join(dir, name), int64(len("first\n"))); err != nil {
			t.Fatal(err)
		}
		want := "first\n" + strings.Repeat("after the crash\n", 10)
		l = open(t, dir, 1000, 3)
		l.Write([]byte(strings.TrimPrefix(want, "first\n")))
		if diff := cmp.Diff(want, readAll(t, follow(dir, 3))); diff != "" {
			t.Errorf("rewound %v: -want +got:\n%s", rewound, diff)
		}
		l.Close()
	}
}

func TestReaderTooFarBehind(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 100, 3)
	r := follow(dir, 3)
	l.Write([]byte("first\n"))
	readAll(t, r)
	for i := range 100 {
		l.Write(fmt.Appendf(nil, "line %02d\n", i))
	}
	got := readAll(t, r)
	if !r.Lost() || r.Lost() {
		t.Error("the loss is not told once")
	}
	if !strings.HasPrefix(got, "line ") || !strings.HasSuffix(got, "line 99\n") || len(got) < 200 {
		t.Errorf("got %q", got)
	}
}

func TestRewind(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 20, 9)
	r := follow(dir, 9)
	l.Write([]byte("one\n"))
	readAll(t, r)
	at := r.Place()
	for range 9 {
		l.Write([]byte("more lines\n"))
	}
	want := readAll(t, r)
	r.Rewind(at)
	if got := readAll(t, r); got != want || got == "" {
		t.Errorf("after going back %q, want %q", got, want)
	}
}

// One writes and rotates while another reads.
func TestReaderBesideWriter(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 5000, 1000)
	const n = 20000
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			l.Write(fmt.Appendf(nil, "line %d\n", i))
		}
	})
	r := follow(dir, 1000)
	next := 0
	for next < n {
		lines, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(lines)) {
			if want := fmt.Sprintf("line %d\n", next); line != want {
				t.Fatalf("got %q, want %q", line, want)
			}
			next++
		}
	}
	wg.Wait()
}

func FuzzPlace(f *testing.F) {
	f.Add([]byte(`{"inode":1,"born":2,"offset":3}`))
	f.Add([]byte(`{"inode":-1}`))
	f.Add([]byte(`{"inode":1,"offset":-5}`))
	f.Fuzz(func(t *testing.T, place []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "place"), place, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("a\nb\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, follow(dir, 3)); !strings.HasSuffix("a\nb\n", got) {
			t.Errorf("read %q", got)
		}
	})
}
