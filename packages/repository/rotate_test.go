package repository

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"micromirror/packages/rollout"

	"micromirror/packages/release"
)

// TestRotation changes the key of each role. A node that has seen the old key, a
// node that has not been on line since it was flashed, and the next publish all
// go on.
func TestRotation(t *testing.T) {
	for _, role := range Roles() {
		t.Run(role, func(t *testing.T) {
			b := newBench(t)
			old, late := b.client(), b.client()
			_, err := b.SetTargets(t.Context(), map[string][]byte{"x": []byte("1")})
			b.must(err)
			old.want("x", "1")
			before := b.keyFiles(role)
			gone, err := b.RotateKey(t.Context(), role, "")
			b.must(err)
			if len(gone) != len(before) {
				t.Errorf("gone = %v, want %d", gone, len(before))
			}
			for _, file := range before {
				if _, err := os.Stat(file + retired); err != nil {
					t.Error(err)
				}
				if slices.Contains(b.keyFiles(role), file) {
					t.Errorf("%s is still in use", file)
				}
			}
			old.want("x", "1")
			_, err = b.SetTargets(t.Context(), map[string][]byte{"x": []byte("2")})
			b.must(err)
			old.want("x", "2")
			late.want("x", "2")
		})
	}
}

// TestOldKeysAreWorthless signs with retired keys as a thief would.
func TestOldKeysAreWorthless(t *testing.T) {
	for _, role := range []string{metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP} {
		t.Run(role, func(t *testing.T) {
			b := newBench(t)
			stolen := t.TempDir()
			b.must(os.CopyFS(stolen, os.DirFS(b.Keys.Dirs[0])))
			before, err := b.load()
			b.must(err)
			_, err = b.RotateKey(t.Context(), role, "")
			b.must(err)
			node := b.client()
			_, err = node.refresh()
			b.must(err)
			s, err := b.load()
			b.must(err)
			s.root = before.root
			thief := &Repository{Dir: b.Dir, Keys: Keys{Dirs: []string{stolen}}, Now: b.Now}
			c, err := thief.sign(s, true, nil)
			b.must(err)
			b.must(thief.write(c))
			_, err = node.refresh()
			wantError(t, err, "Verifying "+role+" failed")
		})
	}
}

// TestReplacedKeyNeverComesBack: the files of replaced keys are still there, as
// after a power cut before they were renamed.
func TestReplacedKeyNeverComesBack(t *testing.T) {
	for _, role := range Roles() {
		t.Run(role, func(t *testing.T) {
			b := newBench(t)
			before := b.keyFiles(role)
			for range 3 {
				_, err := b.RotateKey(t.Context(), role, "")
				b.must(err)
				for _, file := range before {
					b.must(os.Rename(file+retired, file))
					if slices.Contains(b.keyFiles(role), file) {
						t.Errorf("%s is in use again", file)
					}
				}
			}
		})
	}
}

func TestLossOfOneRootKey(t *testing.T) {
	b := newBench(t)
	node := b.client()
	lost := b.keyFiles(metadata.ROOT)[0]
	b.must(os.Remove(lost))
	id := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(lost), "root-"), keySuffix)
	gone, err := b.RotateKey(t.Context(), metadata.ROOT, id)
	b.must(err)
	if len(gone) != 1 || !strings.HasPrefix(gone[0], id) {
		t.Errorf("gone = %v, want %s", gone, id)
	}
	if got := b.keyFiles(metadata.ROOT); len(got) != 3 {
		t.Errorf("root keys afterwards: %v", got)
	}
	// All is as before: one more may be lost.
	b.must(os.Remove(b.keyFiles(metadata.ROOT)[0]))
	_, err = b.RotateKey(t.Context(), metadata.TIMESTAMP, "")
	b.must(err)
	_, err = node.refresh()
	b.must(err)
}

func TestLossOfTwoRootKeys(t *testing.T) {
	b := newBench(t)
	files := b.keyFiles(metadata.ROOT)
	b.must(os.Remove(files[0]))
	b.must(os.Remove(files[2]))
	_, err := b.RotateKey(t.Context(), metadata.TARGETS, "")
	wantError(t, err, "needs 2 signatures and 1 can be had", filepath.Base(files[0]), filepath.Base(files[2]), "--keys")
	_, err = b.client().refresh()
	b.must(err)
}

func TestRootKeysOffline(t *testing.T) {
	b := newBench(t)
	sticks := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	for i, file := range b.keyFiles(metadata.ROOT) {
		b.must(os.Rename(file, filepath.Join(sticks[i], filepath.Base(file))))
	}
	// Daily work does not need them.
	b.release("1", 0)
	b.must(b.Renew(t.Context()))
	_, err := b.RotateKey(t.Context(), metadata.SNAPSHOT, "")
	wantError(t, err, "needs 2 signatures and 0 can be had")
	b.Keys.Dirs = append(b.Keys.Dirs, sticks[0], sticks[2])
	_, err = b.RotateKey(t.Context(), metadata.SNAPSHOT, "")
	b.must(err)
	_, err = b.client().refresh()
	b.must(err)
}

// TestLostOnlineKey is the one case where a reader may see a bad moment.
func TestLostOnlineKey(t *testing.T) {
	for _, role := range []string{metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP} {
		t.Run(role, func(t *testing.T) {
			b := newBench(t)
			node := b.client()
			_, err := node.refresh()
			b.must(err)
			b.must(os.Remove(b.keyFiles(role)[0]))
			_, err = b.SetTargets(t.Context(), map[string][]byte{"x": nil})
			wantError(t, err, "sign "+role, "--keys")
			_, err = b.RotateKey(t.Context(), role, "")
			b.must(err)
			_, err = b.SetTargets(t.Context(), map[string][]byte{"x": []byte("1")})
			b.must(err)
			node.want("x", "1")
		})
	}
}

func TestRotateMistakes(t *testing.T) {
	b := newBench(t)
	_, err := b.RotateKey(t.Context(), "rot", "")
	wantError(t, err, "rotate rot", "root, targets, snapshot, timestamp")
	_, err = b.RotateKey(t.Context(), metadata.ROOT, "nothex")
	wantError(t, err, `0 keys begin with "nothex"`)
}

// operations are all that a maintainer does to a repository.
func operations(b *bench) map[string]func() error {
	ctx := b.t.Context()
	dir := testRelease(b.t, "2", "", b.clock)
	ops := map[string]func() error{
		"renew":         func() error { return b.Renew(ctx) },
		"renew targets": func() error { return b.Renew(ctx, metadata.TARGETS) },
		"renew root":    func() error { return b.Renew(ctx, metadata.ROOT) },
		"release":       func() error { _, _, err := b.AddRelease(ctx, dir); return err },
		"roll out":      func() error { _, err := b.SetRollout(ctx, rollout.Rollout{Version: "1", Percent: 100}); return err },
		"configuration": func() error {
			_, err := b.SetConfig(ctx, map[string][]byte{FleetTarget: []byte("f"), NodeTarget("n"): []byte("n")})
			return err
		},
	}
	for _, role := range Roles() {
		ops["rotate "+role] = func() error { _, err := b.RotateKey(ctx, role, ""); return err }
	}
	return ops
}

func operationNames(t *testing.T) []string {
	var names []string
	for name := range operations(&bench{t: t}) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// TestConsistentAtEveryInstant lets a new node and one that has been following
// read after every single file.
func TestConsistentAtEveryInstant(t *testing.T) {
	for _, name := range operationNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.release("1", 0)
			node := b.client()
			writes := 0
			b.wrote = func(file string) error {
				writes++
				for who, c := range map[string]*client{"old": node, "new": b.client()} {
					if _, err := c.get(ReleaseTarget("1", "vmlinuz")); err != nil {
						t.Errorf("%s node after %s: %v", who, filepath.Base(file), err)
					}
				}
				return nil
			}
			b.must(operations(b)[name]())
			if writes < 2 {
				t.Errorf("%d writes were looked at", writes)
			}
		})
	}
}

// TestInterruptedAnywhere ends each operation after each of its writes and
// repeats it.
func TestInterruptedAnywhere(t *testing.T) {
	for _, name := range operationNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			original := newBench(t)
			original.release("1", 0)
			for stop := 1; ; stop++ {
				b := original.copied()
				node := b.client()
				done := interrupted(b, stop, operations(b)[name])
				_, err := node.refresh()
				b.must(err)
				b.must(operations(b)[name]())
				b.must(b.Renew(t.Context()))
				node.want(ReleaseTarget("1", "vmlinuz"), "vmlinuz of 1")
				b.copyIsNewest()
				if done {
					return
				}
			}
		})
	}
}

// interrupted runs f until its nth write; it reports whether f ended before.
func interrupted(b *bench, n int, f func() error) bool {
	b.t.Helper()
	cut := errors.New("power cut")
	b.wrote = func(string) error {
		if n--; n == 0 {
			return cut
		}
		return nil
	}
	err := f()
	b.wrote = nil
	if err != nil && !errors.Is(err, cut) {
		b.t.Fatal(err)
	}
	return err == nil
}

func (b *bench) copyIsNewest() {
	b.t.Helper()
	s, err := b.load()
	b.must(err)
	newest, err := os.ReadFile(b.metadata(s.root.Signed.Version, rootMeta))
	b.must(err)
	copied, err := os.ReadFile(b.Root)
	b.must(err)
	if diff := cmp.Diff(string(newest), string(copied)); diff != "" {
		b.t.Errorf("the desk's copy of the root: -newest +copy\n%s", diff)
	}
}

// TestInterruptedRemoval: a removal that stops anywhere is done again, or was done.
func TestInterruptedRemoval(t *testing.T) {
	for stop := 1; stop < 10; stop++ {
		b := newBench(t)
		b.release("0", -1)
		b.release("1", 0)
		remove := func() error { return b.RemoveRelease(t.Context(), "0") }
		if interrupted(b, stop, remove) {
			return
		}
		if stop < 3 { // the timestamp had not been written
			b.must(remove())
		}
		wantError(t, remove(), `"0" is not published`)
		b.client().want(ReleaseTarget("1", release.RootFile), "root.img of 1")
	}
	t.Error("no end")
}

func TestInterruptedInit(t *testing.T) {
	for stop := 1; stop < 10; stop++ {
		b := &bench{t: t, Repository: At(t.TempDir())}
		done := interrupted(b, stop, func() error { return b.Init(t.Context()) })
		if done {
			if stop != 6 {
				t.Errorf("%d writes", stop-1)
			}
			return
		}
		if !b.Exists() {
			b.must(b.Init(t.Context()))
		}
		b.must(b.Renew(t.Context()))
		files, err := os.ReadDir(b.Keys.Dirs[0])
		b.must(err)
		if len(files) != 8 { // six keys, the lock, .gitignore
			t.Errorf("after %d writes: %s", stop, fmt.Sprint(files))
		}
	}
	t.Error("no end")
}
