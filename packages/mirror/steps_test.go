package mirror

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"micromirror/packages/mirror/mirrortest"
	"micromirror/packages/mirror/plan"
	"micromirror/packages/mirror/verify"
)

// TestFaultAtEveryStep breaks the second of two runs off before each of its
// steps in turn, and shows that the tree is at no time inconsistent and that the
// next run completes.
func TestFaultAtEveryStep(t *testing.T) {
	broken := errors.New("power cut")
	for n := 0; ; n++ {
		w := newWorld(t, archive...)
		w.mustRun()
		w.change("pool/new: new", "pool/a: a file now", "-pool/c", "dists/one/main/Packages: names new",
			"dists/one/InRelease: newer", "-dists/one/main/by-hash", "-dists/stable", "dists/stable/x: directory now")
		count, at := 0, ""
		w.job.Fault = func(step string) error {
			if at = step; count == n {
				return broken
			}
			count++
			return nil
		}
		w.job.Attempts = 1
		_, err := w.run()
		w.job.Fault = nil
		if err == nil {
			if n < 18 {
				t.Errorf("only %d steps", n)
			}
			return
		}
		if !errors.Is(err, broken) {
			t.Fatalf("step %q: %v", at, err)
		}
		release, _ := os.ReadFile(filepath.Join(w.job.Tree, "dists/one/InRelease"))
		if string(release) == "newer" && !w.has("pool/new") {
			t.Errorf("broken off at %q: the index is newer than the content", at)
		}
		pending := Pending(w.job)
		w.mustRun()
		w.same()
		t.Logf("broken off at %q, publish pending: %v", at, pending)
	}
}

func TestStageLostDuringPublish(t *testing.T) {
	w := newWorld(t, archive...)
	w.job.Fault = func(step string) error {
		if step == "dir pool/b" {
			return errors.New("power cut")
		}
		return nil
	}
	if _, err := w.run(); err == nil {
		t.Fatal("not broken off")
	}
	w.job.Fault = nil
	if err := os.RemoveAll(filepath.Join(Staging(w.job.Stage), "new")); err != nil {
		t.Fatal(err)
	}
	w.mustRun()
	w.same()
}

// A plan that can no longer be carried out must not block the project for ever.
func TestObstructedPublishIsGivenUp(t *testing.T) {
	w := newWorld(t, archive...)
	w.job.Fault = func(step string) error {
		if step == "file pool/b/b_1.deb" {
			return errors.New("power cut")
		}
		return nil
	}
	if _, err := w.run(); err == nil {
		t.Fatal("not broken off")
	}
	w.job.Fault = nil
	mirrortest.Make(t, w.job.Tree, "pool/b/b_1.deb/in/the/way: x")
	w.mustRun()
	w.same()
}

// What an error says of a plan decides whether it is tried again.
func TestWhenAPublishIsGivenUp(t *testing.T) {
	tests := map[string]struct {
		err    error
		giveUp bool
		want   bool
	}{
		"disk full":                  {unix.ENOSPC, true, false},
		"disk broken":                {unix.EIO, true, false},
		"disk read-only":             {unix.EROFS, true, false},
		"something in the way":       {unix.ENOTEMPTY, false, true},
		"folder gone":                {unix.ENOENT, false, true},
		"unknown":                    {unix.EPERM, false, false},
		"unknown for a long time":    {unix.EPERM, true, true},
		"file system check required": {unix.EUCLEAN, false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, archive...)
			w.job.Fault = func(step string) error {
				if step == "file pool/b/b_1.deb" {
					return &os.PathError{Op: "rename", Path: "x", Err: tt.err}
				}
				return nil
			}
			if _, err := w.run(); !errors.Is(err, tt.err) {
				t.Fatalf("error = %v", err)
			}
			w.job.GiveUp = tt.giveUp
			_, err := Recover(t.Context(), w.job)
			if got := errors.Is(err, ErrGivenUp); got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("error = %v, given up %v, want %v", err, got, tt.want)
			}
			if pending, torn := Pending(w.job), Torn(w.job); pending == tt.want || torn != tt.want {
				t.Errorf("pending %v, torn %v", pending, torn)
			}
			w.job.Fault = nil
			w.mustRun()
			w.same()
			if Pending(w.job) || Torn(w.job) {
				t.Error("not whole after a run")
			}
		})
	}
}

// A torn tree is torn until all of it is published, or found to be right.
func TestTornUntilWhole(t *testing.T) {
	w := newWorld(t, archive...)
	w.mustRun()
	torn := filepath.Join(w.job.Stage, "torn")
	mirrortest.Make(t, w.job.Stage, "torn: x")
	w.change("pool/new: new", "pool/more: more", "dists/one/InRelease: newer")
	w.upstream.Fail = func(name string) error {
		if name == "pool/new" {
			return errors.New("permission denied")
		}
		return nil
	}
	if _, err := w.run(); !errors.Is(err, ErrPart) || !w.has("pool/more") || !Torn(w.job) {
		t.Errorf("error %v, torn %v, want content published and the tree torn", err, Torn(w.job))
	}
	w.upstream.Fail = nil
	w.mustRun()
	if Torn(w.job) {
		t.Error("torn after a whole publish")
	}
	mirrortest.Make(t, w.job.Stage, "torn: x")
	w.mustRun()
	if _, err := os.Lstat(torn); !errors.Is(err, os.ErrNotExist) {
		t.Error("torn although nothing differs")
	}
}

func TestUnsyncedStageIsFetchedAgain(t *testing.T) {
	w := newWorld(t, archive...)
	w.job.Attempts = 1
	w.job.Fault = func(step string) error {
		if step == "verify" {
			return errors.New("power cut")
		}
		return nil
	}
	if _, err := w.run(); err == nil {
		t.Fatal("not broken off")
	}
	// Size and time of this file survived the power cut, its content did not.
	name := filepath.Join(Staging(w.job.Stage), stageName("pool/b/b_1.deb"))
	st, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, make([]byte, st.Size()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, st.ModTime(), st.ModTime()); err != nil {
		t.Fatal(err)
	}
	w.job.Fault = nil
	// A transfer that breaks off makes safe what there is, but not right.
	w.upstream.Cut = 1
	if _, err := w.run(); !errors.Is(err, mirrortest.ErrCut) {
		t.Fatalf("error = %v", err)
	}
	w.upstream.Cut = 0
	w.mustRun()
	w.same()
}

// What is due goes although nothing new fits. What is gone since then stays: the
// indexes that are served name it.
func TestNoRoomStillDeletes(t *testing.T) {
	w := newWorld(t, archive...)
	w.job.Grace = time.Hour
	w.mustRun()
	w.change("-pool/b/b_1.deb")
	w.mustRun()
	w.now = w.now.Add(2 * time.Hour)
	w.change("pool/d: new", "dists/one/InRelease: names d", "-dists/one/main/by-hash/x")
	reserve := w.job.Reserve
	for range 2 {
		w.job.Reserve = 1 << 60
		if _, err := w.run(); !errors.Is(err, ErrFull) {
			t.Errorf("error = %v, want %v", err, ErrFull)
		}
		got, _ := os.ReadFile(filepath.Join(w.job.Tree, "dists/one/InRelease"))
		if w.has("pool/b/b_1.deb") || w.has("pool/d") || !w.has("dists/one/main/by-hash/x") || string(got) != "release one" || len(w.job.Gone) != 0 {
			t.Errorf("without room: InRelease %q, tombstones %v", got, w.job.Gone)
		}
	}
	w.job.Reserve = reserve
	w.mustRun()
	if !w.has("dists/one/main/by-hash/x") || len(w.job.Gone) != 1 {
		t.Errorf("tombstones %v", w.job.Gone)
	}
}

func TestCancelledRunEnds(t *testing.T) {
	w := newWorld(t, archive...)
	ctx, cancel := context.WithCancel(t.Context())
	w.upstream.Before = func(step string) {
		if step == "transfer" {
			cancel()
		}
	}
	if _, err := Run(ctx, w.job, Fetch); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
}

// Directories of upstream that their owner may not write are no obstacle for a
// daemon that is not root.
func TestWithoutRoot(t *testing.T) {
	if os.Getuid() == 0 {
		// File system permissions follow the thread's file system user; the test
		// keeps the thread, which ends with it.
		w := newWorld(t, "0555 dists/one", "dists/one/a: a", "0444 dists/one/b: b")
		for _, d := range []string{filepath.Dir(w.job.Tree), filepath.Dir(w.job.Stage)} {
			if err := errors.Join(os.MkdirAll(d, 0o755), os.Chown(d, 65534, 65534)); err != nil {
				t.Fatal(err)
			}
		}
		for d := w.job.Tree; d != "/"; d = filepath.Dir(d) {
			if st, err := os.Stat(d); err == nil {
				os.Chmod(d, st.Mode().Perm()|0o555)
			}
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			lockAsNobody()
			w.readOnlyDirectories()
		}()
		<-done
		return
	}
	newWorld(t, "0555 dists/one", "dists/one/a: a", "0444 dists/one/b: b").readOnlyDirectories()
}

func (w *world) readOnlyDirectories() {
	if _, err := w.run(); err != nil {
		w.t.Errorf("first run: %v", err)
	}
	if err := os.Chmod(filepath.Join(w.upstream.Dir, "dists/one"), 0o755); err == nil {
		w.change("-dists/one/a", "dists/one/c: c", "0555 dists/one")
	}
	if _, err := w.run(); err != nil {
		w.t.Errorf("second run: %v", err)
	}
	if diff := cmp.Diff(mirrortest.Describe(w.t, w.upstream.Dir, true), mirrortest.Describe(w.t, w.job.Tree, true)); diff != "" {
		w.t.Errorf("-upstream +tree\n%s", diff)
	}
}

func TestDiskSpaceIsCheckedFirst(t *testing.T) {
	w := newWorld(t, archive...)
	var st unix.Statfs_t
	if err := unix.Statfs(t.TempDir(), &st); err != nil {
		t.Fatal(err)
	}
	w.job.Reserve = int64(st.Blocks) * st.Bsize
	w.upstream.Fail = func(name string) error { t.Errorf("%s was fetched", name); return nil }
	if _, err := w.run(); !errors.Is(err, ErrFull) {
		t.Errorf("error = %v, want %v", err, ErrFull)
	}
}

func TestInodesAreCheckedFirst(t *testing.T) {
	tests := map[string]struct {
		files, free uint64
		need        int64
		want        error
	}{
		"enough":               {1 << 20, spareInodes + 10, 10, nil},
		"one too few":          {1 << 20, spareInodes + 9, 10, ErrFull},
		"none left":            {1 << 20, 0, 1, ErrFull},
		"nothing to make":      {1 << 20, 0, 0, nil},
		"all in the stage":     {1 << 20, 0, -1, nil},
		"made as needed":       {0, 0, 1 << 30, nil},
		"more than a disk has": {1 << 20, 1 << 20, 1 << 40, ErrFull},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if err := inodes(&unix.Statfs_t{Files: tt.files, Ffree: tt.free}, tt.need); !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
		})
	}
}

// A tree can be too many for a disk although it is not too much.
func TestDiskOutOfInodes(t *testing.T) {
	for inodes, want := range map[int]string{spareInodes: "error not enough disk space: 7 inodes", 2 * spareInodes: "done"} {
		v := &victim{Root: mirrortest.TempDir(t), KillAt: -1, Disk: 32 << 10, Inodes: inodes}
		mirrortest.Make(t, v.Root, "disk/")
		mirrortest.Make(t, filepath.Join(v.Root, "upstream"), "pool/a: a", "pool/b: b", "pool/twin = pool/a", "dists/x/InRelease: x", "dists/y -> x")
		if _, last, err := v.start(t, newNamespaces()); err != nil || !strings.HasPrefix(last, want) {
			t.Errorf("%d inodes: %q, %v; want %q", inodes, last, err, want)
		}
	}
}

// TestAudit hands proposals to the publisher that no honest fetch would make.
func TestAudit(t *testing.T) {
	many := []string{"dists/x/InRelease: x"}
	for i := range 40 {
		many = append(many, fmt.Sprintf("pool/%d: %d", i, i))
	}
	tests := map[string]struct {
		line string
		want error
	}{
		"deletes what is not due":   {`drop 0 0 0 0 "pool/1" ""`, ErrAudit},
		"replaces a whole tree":     {`away 40000 0 0 0 "pool" ""`, ErrShrink},
		"places what is not staged": {`file 644 1 0 0 "pool/1" "lock"`, ErrAudit},
		"places the journal":        {`file 644 1 0 0 "pool/1" "new/../plan"`, plan.ErrFormat},
		"leads out":                 {`dir 755 0 0 0 "../x" ""`, plan.ErrFormat},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, many...)
			w.job.Grace = time.Hour
			w.mustRun()
			before := mirrortest.Describe(t, w.job.Tree, true)
			_, err := Run(t.Context(), w.job, func(ctx context.Context, j Job) (Outcome, error) {
				text := "micromirror-plan 1 \"demo\" true\n" + tt.line + "\n"
				text += fmt.Sprintf("end 2 %08x\n", crc(text))
				name := filepath.Join(Staging(j.Stage), proposalFile)
				return Outcome{Complete: true, Proposal: name}, os.WriteFile(name, []byte(text), 0o600)
			})
			if !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
			if diff := cmp.Diff(before, mirrortest.Describe(t, w.job.Tree, true)); diff != "" {
				t.Errorf("the tree changed, -before +after\n%s", diff)
			}
		})
	}
}

// TestInconsistentIndexIsHeldBack is an upstream caught in the middle of its own
// update: the new release names a package index that is still the old one.
func TestInconsistentIndexIsHeldBack(t *testing.T) {
	w := newWorld(t, archive...)
	w.mustRun()
	newer := fmt.Sprintf("SHA256:\n %x %d main/Packages\n", sha256.Sum256([]byte("newer packages")), len("newer packages"))
	w.change("pool/d: new", "dists/one/InRelease: "+newer)
	release := func() string {
		data, _ := os.ReadFile(filepath.Join(w.job.Tree, "dists/one/InRelease"))
		return string(data)
	}
	if _, err := w.run(); !errors.Is(err, verify.ErrInconsistent) || release() != "release one" || !w.has("pool/d") {
		t.Errorf("error %v, release %q", err, release())
	}
	w.change("dists/one/main/Packages: newer packages")
	w.mustRun()
	w.same()
	w.change("dists/one/main/Packages: other packages", "dists/one/InRelease: Suite: x\n"+newer)
	w.job.Tolerate = true
	w.mustRun()
	w.same()
}

func crc(text string) uint32 { return crc32.ChecksumIEEE([]byte(text)) }

// An upstream that is read while it changes shows a package list before the
// Release that knows it: nothing of that may be served.
func TestIndexBeforeItsRelease(t *testing.T) {
	w := newWorld(t, "empty/")
	makeArchive(t, w.upstream.Dir, 1)
	w.mustRun()
	w.job.Attempts, w.job.Grace = 1, time.Hour
	release, err := os.ReadFile(filepath.Join(w.upstream.Dir, "dists/x/Release"))
	if err != nil {
		t.Fatal(err)
	}
	makeArchive(t, w.upstream.Dir, 2)
	w.change("dists/x/Release: " + string(release))
	if _, err := w.run(); !errors.Is(err, verify.ErrInconsistent) {
		t.Errorf("error = %v, want %v", err, verify.ErrInconsistent)
	}
	w.promised()
	makeArchive(t, w.upstream.Dir, 2)
	w.mustRun()
	w.promised()
	if !w.has(fresh) {
		t.Error("the whole update was not published")
	}
}
