package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/mirror/edition"
	"micromirror/packages/mirror/mirrortest"
	"micromirror/packages/mirror/status"
	"micromirror/packages/project"
	"micromirror/packages/rsync/flist"
	"micromirror/packages/rsync/wire"
)

// world is one project with an upstream inside the process.
type world struct {
	t        testing.TB
	upstream *mirrortest.Upstream
	job      Job
	now      time.Time
	peer     *mirrortest.Peer // if upstream is rsync's own daemon
}

func newWorld(t testing.TB, entries ...string) *world {
	t.Helper()
	dir := mirrortest.TempDir(t)
	w := &world{t: t, upstream: &mirrortest.Upstream{Dir: filepath.Join(dir, "upstream")}, now: time.Now()}
	mirrortest.Make(t, w.upstream.Dir, entries...)
	p := project.Complete("demo", project.Project{Kind: "apt"})
	w.job = Job{
		Project: p, Tree: filepath.Join(dir, "mirror", "demo"), Stage: filepath.Join(dir, "stage", "demo"),
		Editions: filepath.Join(dir, "mirror", edition.Folder),
		Dial:     func(context.Context) (Upstream, error) { return w.upstream, nil },
		Now:      func() time.Time { return w.now }, Wait: func(context.Context, time.Duration) error { return nil },
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Progress: func(status.Progress) {},
	}
	return w
}

func (w *world) change(entries ...string) { mirrortest.Make(w.t, w.upstream.Dir, entries...) }

// run does a run and carries the tombstones over to the next.
func (w *world) run() (Report, error) {
	r, err := Run(w.t.Context(), w.job, Fetch)
	w.job.Gone = r.Gone
	return r, err
}

func (w *world) mustRun() Report {
	w.t.Helper()
	r, err := w.run()
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// same checks that the tree is upstream's.
func (w *world) same() {
	w.t.Helper()
	if diff := cmp.Diff(mirrortest.Describe(w.t, w.upstream.Dir, true), mirrortest.Describe(w.t, w.job.Tree, true)); diff != "" {
		w.t.Errorf("tree differs from upstream, -upstream +tree\n%s", diff)
	}
}

func (w *world) has(name string) bool {
	_, err := os.Lstat(filepath.Join(w.job.Tree, name))
	return err == nil
}

var archive = []string{
	"pool/a/a_1.deb: package a", "0640 pool/b/b_1.deb: package b", "pool/c = pool/a/a_1.deb",
	"dists/one/InRelease: release one", "dists/one/main/Packages: packages one",
	"dists/one/main/by-hash/x: packages one", "dists/stable -> one", "project/trace/_traces: list", "empty/",
	"odd \xff\n\"name\": odd",
}

func TestFirstRunThenNothingToDo(t *testing.T) {
	w := newWorld(t, archive...)
	if r := w.mustRun(); !r.Published || r.Outcome.Files != 9 || r.FetchedFiles != 7 {
		t.Errorf("report = %+v", r)
	}
	w.same()
	if r := w.mustRun(); r.Published || r.Proposal != "" || r.FetchedFiles != 0 {
		t.Errorf("second run did something: %+v", r)
	}
}

func TestEveryKindOfChange(t *testing.T) {
	tests := []struct {
		name   string
		change []string
	}{
		{"new content", []string{"pool/a/a_1.deb: package a, rebuilt", "dists/one/InRelease: release two"}},
		{"new file", []string{"pool/n/e/w: new"}},
		{"gone file", []string{"-pool/b/b_1.deb"}},
		{"gone directory", []string{"-dists/one/main"}},
		{"mode", []string{"0600 pool/b/b_1.deb: package b", "0700 empty"}},
		{"link moved", []string{"dists/two/InRelease: two", "dists/stable -> two"}},
		{"link becomes directory", []string{"-dists/stable", "dists/stable/InRelease: own"}},
		{"directory becomes link", []string{"-dists/one", "dists/real/InRelease: real", "dists/one -> real"}},
		{"file becomes directory", []string{"-pool/b/b_1.deb", "pool/b/b_1.deb/inner: x"}},
		{"directory becomes file", []string{"pool/a: now a file"}},
		{"file becomes link", []string{"pool/b/b_1.deb -> ../a/a_1.deb"}},
		{"link becomes file", []string{"dists/stable: file"}},
		{"hard link broken", []string{"pool/c: its own now"}},
		{"hard link made", []string{"pool/b/again = pool/b/b_1.deb"}},
		{"hard link moved", []string{"pool/c = pool/b/b_1.deb"}},
		{"hard links across phases", []string{"dists/one/copy = pool/b/b_1.deb", "dists/one/InRelease = pool/b/b_1.deb"}},
		{"directory not writable", []string{"0555 dists/one", "dists/one/main/x: x"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, archive...)
			w.mustRun()
			w.change(tt.change...)
			w.mustRun()
			w.same()
			if r := w.mustRun(); r.Published {
				t.Error("a run without changes published something")
			}
		})
	}
}

func TestGracePeriod(t *testing.T) {
	w := newWorld(t, archive...)
	w.job.Grace = time.Hour
	w.mustRun()
	w.change("-pool/b/b_1.deb", "-dists/one/main/by-hash")
	w.mustRun()
	w.now = w.now.Add(59 * time.Minute)
	if r := w.mustRun(); r.Published || !w.has("pool/b/b_1.deb") || !w.has("dists/one/main/by-hash/x") {
		t.Errorf("vanished files did not stay for the grace period: %+v", r)
	}
	w.change("dists/one/main/by-hash/x: packages one") // one comes back
	w.now = w.now.Add(2 * time.Minute)
	w.mustRun()
	if w.has("pool/b/b_1.deb") || !w.has("dists/one/main/by-hash/x") {
		t.Error("after the grace period the wrong files are there")
	}
	w.same()
}

// A node without a battery starts in 1970 and learns the time later.
func TestClockNotYetSet(t *testing.T) {
	w := newWorld(t, archive...)
	w.job.Grace = time.Hour
	w.mustRun()
	w.change("-pool/b/b_1.deb")
	now := w.now
	for _, w.now = range []time.Time{time.Unix(60, 0), time.Unix(1e6, 0), now} {
		w.mustRun()
		if !w.has("pool/b/b_1.deb") {
			t.Fatalf("deleted at %v, before the grace period began", w.now)
		}
	}
	w.now = now.Add(time.Hour)
	w.mustRun()
	w.same()
}

func TestRefusedLists(t *testing.T) {
	big := append([]string{}, archive...)
	for i := range 50 {
		big = append(big, fmt.Sprintf("pool/x/%d: %d", i, i))
	}
	tests := []struct {
		name string
		lie  func(u *mirrortest.Upstream)
		want error
	}{
		{"empty", func(u *mirrortest.Upstream) { u.Edit = func(f *flist.File) bool { return f.Name == "." } }, ErrList},
		{"only directories", func(u *mirrortest.Upstream) { u.Edit = func(f *flist.File) bool { return f.IsDir() } }, ErrList},
		{"I/O error flag", func(u *mirrortest.Upstream) { u.IOError = 1 }, ErrList},
		{"vanished while listed", func(u *mirrortest.Upstream) { u.IOError = wire.IOErrVanished }, errMoving},
		{"half of it", func(u *mirrortest.Upstream) {
			u.Edit = func(f *flist.File) bool { return !strings.HasPrefix(f.Name, "pool/x/") }
		}, ErrShrink},
		{"name leads out", func(u *mirrortest.Upstream) {
			u.Extra = []flist.File{{Name: "../x", Mode: 0o100644, HardLink: flist.NoHardLink}}
		}, flist.ErrName},
		{"huge file", func(u *mirrortest.Upstream) {
			u.Extra = []flist.File{{Name: "huge", Mode: 0o100644, Size: 1 << 60, HardLink: flist.NoHardLink}}
		}, ErrFull},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, big...)
			w.mustRun()
			before := mirrortest.Describe(t, w.job.Tree, true)
			tt.lie(w.upstream)
			if _, err := w.run(); !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
			if diff := cmp.Diff(before, mirrortest.Describe(t, w.job.Tree, true)); diff != "" {
				t.Errorf("the tree changed, -before +after\n%s", diff)
			}
			*w.upstream = mirrortest.Upstream{Dir: w.upstream.Dir}
			w.mustRun()
			w.same()
		})
	}
}

// What deletes too much is refused until an order or the fleet's configuration
// allows it.
func TestAllowShrink(t *testing.T) {
	for name, allow := range map[string]func(j *Job){
		"order":         func(j *Job) { j.AllowShrink = true },
		"configuration": func(j *Job) { j.Project.MaxDelete = 100 },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, archive...)
			for i := range 50 {
				w.change(fmt.Sprintf("pool/x/%d: %d", i, i))
			}
			w.mustRun()
			w.change("-pool/x")
			if _, err := w.run(); !errors.Is(err, ErrShrink) {
				t.Fatalf("error = %v, want %v", err, ErrShrink)
			}
			allow(&w.job)
			w.mustRun()
			w.same()
		})
	}
}

func TestLinksThatLeadOutAreLeftOut(t *testing.T) {
	w := newWorld(t, archive...)
	w.change("pool/abs -> /etc/passwd", "pool/up -> ../../../etc/passwd", "pool/sibling -> ../../other/x", "dangling -> nowhere")
	w.mustRun()
	for name, want := range map[string]bool{"pool/abs": false, "pool/up": false, "pool/sibling": true, "dangling": true} {
		if w.has(name) != want {
			t.Errorf("%s is there: %v, want %v", name, !want, want)
		}
	}
}

// A tree whose directory was swapped for a link behind our back must not lead a
// publish out of it.
func TestLinkInTheTreeIsNotFollowed(t *testing.T) {
	w := newWorld(t, archive...)
	w.mustRun()
	outside := t.TempDir()
	mirrortest.Make(t, outside, "a_1.deb: precious")
	if err := os.RemoveAll(filepath.Join(w.job.Tree, "pool/a")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(w.job.Tree, "pool/a")); err != nil {
		t.Fatal(err)
	}
	w.change("pool/a/a_1.deb: new content")
	w.mustRun()
	w.same()
	if got, _ := os.ReadFile(filepath.Join(outside, "a_1.deb")); string(got) != "precious" {
		t.Errorf("file outside the tree is now %q", got)
	}
}

func TestFailedFileHoldsBackIndexes(t *testing.T) {
	w := newWorld(t, archive...)
	w.mustRun()
	w.change("pool/d: new", "pool/e: new too", "pool/a/a_1.deb: rebuilt under its name", "dists/one/InRelease: names d and e", "-pool/b/b_1.deb", "pool/f = pool/d")
	w.upstream.Fail = func(name string) error {
		if name == "pool/d" {
			return errors.New("read error")
		}
		return nil
	}
	r, err := w.run()
	if !errors.Is(err, ErrPart) || !strings.Contains(err.Error(), "pool/d") {
		t.Errorf("error = %v, want one that names pool/d", err)
	}
	got, _ := os.ReadFile(filepath.Join(w.job.Tree, "dists/one/InRelease"))
	if string(got) != "release one" || !w.has("pool/e") || !w.has("pool/b/b_1.deb") || w.has("pool/f") {
		t.Errorf("after a partial run: InRelease %q, report %+v", got, r)
	}
	// What the index there names stays as it is named.
	if got, _ := os.ReadFile(filepath.Join(w.job.Tree, "pool/a/a_1.deb")); string(got) != "package a" {
		t.Errorf("after a partial run a_1.deb is %q", got)
	}
	w.job.TolerateFailed = true
	if r := w.mustRun(); r.Failed == nil || w.has("pool/d") || w.has("pool/f") || w.has("pool/b/b_1.deb") {
		t.Errorf("tolerated run: %+v", r)
	}
	got, _ = os.ReadFile(filepath.Join(w.job.Tree, "dists/one/InRelease"))
	if string(got) != "names d and e" {
		t.Errorf("after a tolerated run InRelease is %q", got)
	}
	w.upstream.Fail = nil
	w.mustRun()
	w.same()
}

func TestCutTransferIsContinued(t *testing.T) {
	w := newWorld(t, archive...)
	w.upstream.Cut = 2
	w.job.Attempts = 1
	if _, err := w.run(); !errors.Is(err, mirrortest.ErrCut) {
		t.Fatalf("error = %v", err)
	}
	asked := 0
	w.upstream.Cut = 0
	w.upstream.Fail = func(string) error { asked++; return nil }
	w.mustRun()
	w.same()
	if asked != 5 {
		t.Errorf("%d files were asked for again, want 5 of 7", asked)
	}
	left, _ := filepath.Glob(filepath.Join(Staging(w.job.Stage), "new", "*", "*"))
	if len(left) != 0 {
		t.Errorf("stage holds %v after a complete run", left)
	}
}

func TestSecondRunIsRefusedWhileOneIsOn(t *testing.T) {
	w := newWorld(t, archive...)
	w.upstream.Before = func(step string) {
		if step != "transfer" {
			return
		}
		if _, err := Fetch(t.Context(), w.job); !errors.Is(err, ErrBusy) {
			t.Errorf("error = %v, want %v", err, ErrBusy)
		}
	}
	w.mustRun()
}
