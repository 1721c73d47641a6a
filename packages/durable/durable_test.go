package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWriteFileReplacesContentAndMode(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	path := filepath.Join(t.TempDir(), "state.json")
	for _, want := range []string{"one", "two, longer", ""} {
		if err := WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("content = %q, %v; want %q", got, err, want)
		}
	}
	if st, _ := os.Stat(path); st.Mode() != 0o644 {
		t.Errorf("mode = %v, want 0644 whatever the umask", st.Mode())
	}
}

func TestWriteFileLeavesNothingBehindOnFailure(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(target, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(target, []byte("x"), 0o644); err == nil {
		t.Fatal("replacing a directory succeeded")
	}
	ents, _ := os.ReadDir(dir)
	if len(ents) != 1 {
		t.Errorf("directory holds %v, want only the old entry", ents)
	}
}

func TestRenameAcrossDirectoriesAndRemove(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a", "f"), filepath.Join(dir, "b", "f")
	for _, d := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteFile(from, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Rename(from, to); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second removal finds nothing, which is no error
		if err := Remove(to); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("file is still there: %v", err)
	}
	if err := Barrier(dir); err != nil {
		t.Error(err)
	}
}
