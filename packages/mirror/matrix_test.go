package mirror

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/mirror/edition"
	"micromirror/packages/mirror/mirrortest"
	"micromirror/packages/project"
	"micromirror/packages/rsync/client"
	"micromirror/packages/rsync/flist"
)

// The fault matrix: what happens to a run, in which of its phases. `make
// fault-matrix` prints it.

// phases are the steps before which a fault strikes, by the beginnings of their
// names.
var phases = [...]struct{ name, step string }{
	{"list", "list"}, {"fetch", "fetch"}, {"verify", "verify"}, {"journal", "journal"}, {"publish", "file "}, {"delete", "drop "},
}

// fresh is what the archive's second version adds.
const fresh = "pool/new.deb"

// makeArchive makes version 0, 1 or 2 of an archive whose indexes tell the truth.
// With version 1 goes a file that no index names any more, with version 2 comes a
// package.
func makeArchive(t testing.TB, dir string, version int) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	var packages strings.Builder
	var entries []string
	add := func(name, content string) {
		entries = append(entries, name+": "+content)
		fmt.Fprintf(&packages, "Package: p\nFilename: %s\nSize: %d\nSHA256: %x\n\n", name, len(content), sha256.Sum256([]byte(content)))
	}
	for i := range 50 {
		add(fmt.Sprintf("pool/%02d.deb", i), fmt.Sprintf("package %d", i))
	}
	switch version {
	case 0:
		entries = append(entries, "pool/old.deb: goes", "turn: a file")
	case 1:
		entries = append(entries, "turn: a file")
	default:
		add(fresh, "package that is new")
		entries = append(entries, "turn/inner: a directory")
	}
	text := packages.String()
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
	entries = append(entries, "dists/x/main/Packages: "+text, "dists/x/main/by-hash/SHA256/"+sum+": "+text,
		fmt.Sprintf("dists/x/Release: Version: %d\nAcquire-By-Hash: yes\nSHA256:\n %s %d main/Packages\n", version, sum, len(text)), "dists/stable -> x")
	mirrortest.Make(t, dir, entries...)
}

// promise checks the guarantee on what is served: the index names only files
// that are there, with the right size and sum.
func promise(tree, editions string) error {
	out := edition.Load(editions)
	read := func(name string) ([]byte, error) {
		if fd, err := out.Open(filepath.Base(tree)+"/"+name, unix.O_RDONLY); err == nil {
			f := os.NewFile(uintptr(fd), name)
			defer f.Close()
			return io.ReadAll(f)
		}
		return os.ReadFile(filepath.Join(tree, name))
	}
	check := func(name, sum string) ([]byte, error) {
		data, err := read(name)
		if err == nil && fmt.Sprintf("%x", sha256.Sum256(data)) != sum {
			err = fmt.Errorf("%s: %d bytes with another sum", name, len(data))
		}
		return data, err
	}
	release, err := read("dists/x/Release")
	if err != nil {
		return err
	}
	sum := strings.Fields(after(string(release), "SHA256:"))[0]
	if _, err := check("dists/x/main/by-hash/SHA256/"+sum, sum); err != nil {
		return err
	}
	packages, err := check("dists/x/main/Packages", sum)
	if err != nil {
		return err
	}
	for _, stanza := range strings.Split(strings.TrimSpace(string(packages)), "\n\n") {
		if _, err := check(strings.Fields(after(stanza, "Filename:"))[0], strings.Fields(after(stanza, "\nSHA256:"))[0]); err != nil {
			return err
		}
	}
	return nil
}

// mishap is a row of the matrix. begin is called when the phase comes, end when
// the trouble is over.
type mishap struct {
	name       string
	begin, end func(w *world)
	// spoils says in which phases the run must not come to its end.
	spoils string
	// patience, if set, puts rsync's own daemon between, whose silence is borne so
	// long.
	patience time.Duration
}

func mishaps() []mishap {
	lie := func(name, spoils string, begin func(u *mirrortest.Upstream)) mishap {
		return mishap{name, func(w *world) { begin(w.upstream) }, func(w *world) { *w.upstream = mirrortest.Upstream{Dir: w.upstream.Dir} }, spoils, 0}
	}
	extra := func(name string) func(u *mirrortest.Upstream) {
		return func(u *mirrortest.Upstream) {
			u.Extra = []flist.File{{Name: name, Mode: 0o100644, HardLink: flist.NoHardLink}}
		}
	}
	swap := func(name, spoils string, entries ...string) mishap {
		return mishap{name, func(w *world) { w.change(entries...) }, func(w *world) { makeArchive(w.t, w.upstream.Dir, 2) }, spoils, 0}
	}
	return []mishap{
		{"upstream cut", func(w *world) { w.peer.Cut.Store(true) }, func(w *world) { w.peer.Cut.Store(false) }, "list fetch", time.Minute},
		{"upstream stalls", func(w *world) { w.peer.Frozen.Store(true) }, func(w *world) { w.peer.Frozen.Store(false) }, "list fetch", 8 * time.Second},
		lie("lie: list cut short", "list", func(u *mirrortest.Upstream) {
			u.Edit = func(f *flist.File) bool { return f.IsDir() || strings.HasSuffix(f.Name, "0.deb") }
		}),
		lie("lie: empty module", "list", func(u *mirrortest.Upstream) { u.Edit = func(f *flist.File) bool { return f.Name == "." } }),
		lie("lie: I/O error flag", "list", func(u *mirrortest.Upstream) { u.IOError = 1 }),
		lie("lie: wrong sums", "list fetch", func(u *mirrortest.Upstream) {
			u.Mangle = func(name string, data []byte) []byte {
				if name == fresh {
					return bytes.Repeat([]byte("?"), len(data))
				}
				return data
			}
		}),
		lie("lie: vanished file", "list fetch", func(u *mirrortest.Upstream) {
			u.Fail = func(name string) error {
				if name == fresh {
					return client.ErrVanished
				}
				return nil
			}
		}),
		lie("lie: huge name", "list", extra(strings.Repeat("x", 5000))),
		lie("lie: ../", "list", extra("../../etc/passwd")),
		swap("lie: symlink swap", "list fetch", fresh+" -> /etc/passwd"),
		swap("lie: file becomes directory", "list fetch", "-"+fresh, fresh+"/inner: x"),
		swap("lie: directory becomes file", "list fetch", "pool: x"),
	}
}

// TestFaultMatrix shows for every fault in every phase that the guarantee holds,
// that nothing is lost, and that a later run completes.
func TestFaultMatrix(t *testing.T) {
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	fmt.Fprint(w, "fault in phase")
	for _, p := range phases {
		fmt.Fprint(w, "\t", p.name)
	}
	fmt.Fprintln(w)
	row := func(name string, cell func(t *testing.T, step string) string) {
		fmt.Fprint(w, name)
		for _, p := range phases {
			result := "FAILED"
			t.Run(name+"/"+p.name, func(t *testing.T) { result = cell(t, p.step) })
			fmt.Fprint(w, "\t", result)
		}
		fmt.Fprintln(w)
	}
	row("SIGKILL", killedIn)
	row("disk full", fullIn)
	for _, f := range mishaps() {
		row(f.name, func(t *testing.T, step string) string { return f.strike(t, step) })
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("the guarantee holds, nothing is lost and a later run completes in every cell\n%s", table.String())
}

// strike does a run during which the fault begins, another while it lasts, and a
// last one after it, and tells how the first ended.
func (f *mishap) strike(t *testing.T, step string) string {
	w := newWorld(t, "empty/")
	w.job.Attempts, w.job.Grace = 1, time.Hour
	if f.patience > 0 {
		w.connect(f.patience)
	}
	for version := range 3 {
		makeArchive(t, w.upstream.Dir, version)
		if version < 2 {
			w.mustRun()
			w.now = w.now.Add(2 * w.job.Grace)
		}
	}
	struck := false
	w.job.Fault = func(at string) error {
		if !struck && strings.HasPrefix(at, step) {
			struck = true
			f.begin(w)
		}
		return nil
	}
	_, err := w.run()
	w.job.Fault = nil
	if !struck {
		t.Errorf("the run never came to %q: %v", step, err)
	}
	if spoilt := strings.Contains(f.spoils, strings.TrimSpace(strings.Fields(phaseOf(step))[0])); spoilt != (err != nil) {
		t.Errorf("the run ended with %v", err)
	}
	w.promised()
	w.run() // it may fail, as long as the fault lasts
	w.promised()
	f.end(w)
	makeArchive(t, w.upstream.Dir, 2)
	for range 2 { // what the lies left behind goes after the grace period
		w.mustRun()
		w.promised()
		w.now = w.now.Add(2 * w.job.Grace)
	}
	w.mustRun()
	w.same()
	return outcome(err)
}

func phaseOf(step string) string {
	for _, p := range phases {
		if p.step == step {
			return p.name
		}
	}
	return "none"
}

// connect puts rsync's own daemon between the run and the tree.
func (w *world) connect(timeout time.Duration) {
	w.peer = mirrortest.StartPeer(w.t, w.upstream.Dir)
	w.job.Project.Upstream = project.Upstream{Host: w.peer.Addr, Module: "m"}
	w.job.Project.Rate = 1 << 30
	w.job.Dial = RsyncDialer(w.job.Project, nil, timeout, w.job.Log)
}

func (w *world) promised() {
	w.t.Helper()
	if err := promise(w.job.Tree, w.job.Editions); err != nil {
		w.t.Errorf("the guarantee is broken: %v", err)
	}
}

// outcome is a word for how a run ended.
func outcome(err error) string {
	switch {
	case err == nil:
		return "completes"
	case errors.Is(err, ErrList), errors.Is(err, ErrShrink), errors.Is(err, flist.ErrName):
		return "refused"
	case errors.Is(err, ErrPart):
		return "index held"
	}
	return "tried again"
}

// killedIn kills the process of a run.
func killedIn(t *testing.T, step string) string {
	v := &victim{Root: mirrortest.TempDir(t), KillAt: -1}
	mirrortest.Make(t, v.Root, "disk/")
	upstream := filepath.Join(v.Root, "upstream")
	makeArchive(t, upstream, 0)
	v.must(t)
	makeArchive(t, upstream, 2)
	v.KillIn = step
	if _, last, err := v.start(t, nil); err == nil {
		t.Errorf("not killed: %s", last)
	}
	job := v.job(nil)
	if err := promise(job.Tree, job.Editions); err != nil {
		t.Errorf("the guarantee is broken: %v", err)
	}
	pending := Pending(job)
	v.KillIn = ""
	v.must(t)
	w := &world{t: t, upstream: &mirrortest.Upstream{Dir: upstream}, job: job}
	w.promised()
	w.same()
	if pending {
		return "rolled forward"
	}
	return "begins anew"
}

func (v *victim) must(t *testing.T) {
	t.Helper()
	if _, last, err := v.start(t, nil); err != nil || last != "done" {
		t.Fatalf("%s, %v", last, err)
	}
}

// fullIn lets a process whose disk fills up during the second of three runs do
// all of them: its disk lives no longer than it does.
func fullIn(t *testing.T, step string) string {
	v := &victim{Root: mirrortest.TempDir(t), KillAt: -1, Disk: 16 << 10, FillIn: step}
	mirrortest.Make(t, v.Root, "disk/")
	makeArchive(t, filepath.Join(v.Root, "upstream"), 0)
	makeArchive(t, filepath.Join(v.Root, "upstream2"), 2)
	_, last, err := v.start(t, newNamespaces())
	result, ok := strings.CutPrefix(last, "done: ")
	if err != nil || !ok {
		t.Errorf("%s, %v", last, err)
	}
	return result
}

// fill is what the victim of fullIn does.
func (v *victim) fill() (string, error) {
	job := v.job(nil)
	upstream := &mirrortest.Upstream{Dir: filepath.Join(v.Root, "upstream")}
	job.Dial = func(context.Context) (Upstream, error) { return upstream, nil }
	if _, err := Run(context.Background(), job, Fetch); err != nil {
		return "", err
	}
	upstream.Dir = filepath.Join(v.Root, "upstream2")
	filler := filepath.Join(v.Root, "disk/filler")
	struck := false
	job.Fault = func(at string) error {
		if !struck && strings.HasPrefix(at, v.FillIn) {
			struck = true
			return fillDisk(filler)
		}
		return nil
	}
	_, full := Run(context.Background(), job, Fetch)
	if err := promise(job.Tree, job.Editions); err != nil {
		return "", fmt.Errorf("the guarantee is broken after %w: %w", full, err)
	}
	if !struck {
		return "", fmt.Errorf("never came to %q: %w", v.FillIn, full)
	}
	job.Fault = nil
	if err := os.Remove(filler); err != nil {
		return "", err
	}
	if _, err := Run(context.Background(), job, Fetch); err != nil {
		return "", fmt.Errorf("afterwards: %w", err)
	}
	if out, err := exec.Command("diff", "-r", "--no-dereference", upstream.Dir, job.Tree).CombinedOutput(); err != nil {
		return "", fmt.Errorf("afterwards: %w: %s", err, out)
	}
	return outcome(full), promise(job.Tree, job.Editions)
}

// fillDisk takes every byte that is left.
func fillDisk(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4096, 1} {
		for block := make([]byte, size); err == nil; {
			_, err = f.Write(block)
		}
		if !errors.Is(err, unix.ENOSPC) {
			return err
		}
		err = nil
	}
	return nil
}

// encode hands a victim its orders.
func (v *victim) encode() string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}
