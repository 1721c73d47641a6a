package client

import (
	"crypto/md5"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"micromirror/packages/rsync/delta"
)

// A file that is complete in the stage, with a mode that lets nobody write it, and
// that upstream has changed since.
func TestReadOnlyLeftoverIsReplaced(t *testing.T) {
	dir := t.TempDir()
	for d := dir; d != "/"; d = filepath.Dir(d) {
		if st, err := os.Stat(d); err == nil {
			os.Chmod(d, st.Mode().Perm()|0o555)
		}
	}
	file := filepath.Join(dir, "x")
	if err := os.WriteFile(file, []byte("old"), 0o444); err != nil {
		t.Fatal(err)
	}
	root := os.Getuid() == 0
	if root {
		for _, name := range []string{dir, file} {
			if err := os.Chown(name, 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}
	}
	done := make(chan error)
	go func() {
		// File system permissions follow the thread's file system user; the goroutine
		// keeps the thread, which ends with it.
		runtime.LockOSThread()
		if root {
			unix.SetfsuidRetUid(65534)
			unix.SetfsgidRetGid(65534)
		}
		done <- replace(dir, "new")
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "new" {
		t.Errorf("staged %q, %v", got, err)
	}
}

// replace writes the file x of a stage.
func replace(dir, content string) error {
	stage, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer stage.Close()
	w := newStageWriter(stage, false)
	if err := w.open("x", true); err != nil {
		return err
	}
	w.begin(md5.New(), delta.Head{}, int64(len(content)))
	if err := w.write([]byte(content)); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	return w.complete(0o444, 1, 0)
}
