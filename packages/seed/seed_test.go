package seed

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"micromirror/packages/layout"
	"micromirror/packages/mirror"
	"micromirror/packages/mirror/mirrortest"
	"micromirror/packages/mirror/status"
	"micromirror/packages/project"
	"micromirror/packages/rsync/client"
)

const partitionSize = 1 << 30

func projects(names ...string) []project.Project {
	var out []project.Project
	for _, name := range names {
		out = append(out, project.Complete(name, project.Project{}))
	}
	return out
}

// partition is an image of a partition with an old life on it.
func partition(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "partition"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(partitionSize); err != nil {
		t.Fatal(err)
	}
	garbage := []byte(strings.Repeat("garbage ", 1<<20))
	for at := int64(0); at < partitionSize; at += 64 << 20 {
		if _, err := f.WriteAt(garbage, at); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// write seeds a partition with the trees in dir.
func write(t *testing.T, dir string, p []project.Project) (*Seed, *os.File) {
	t.Helper()
	s, err := Open(t.Context(), dir, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	out := partition(t)
	if err := s.Prepare(t.Context(), partitionSize); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), out, partitionSize); err != nil {
		t.Fatal(err)
	}
	return s, out
}

func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "/usr/sbin/"+name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// mounted is what a node finds on its /perm.
func mounted(t *testing.T, partition *os.File) string {
	t.Helper()
	tool(t, "e2fsck", "-fn", partition.Name())
	dir := mirrortest.TempDir(t)
	tool(t, "debugfs", "-R", "rdump / "+dir, partition.Name())
	return dir
}

var (
	fraction = regexp.MustCompile(`\.\d+Z`)
	shared   = regexp.MustCompile(` linked to .*|^(-> \S+) .*`)
)

// describe is mirrortest.Describe without what debugfs does not copy out:
// fractions of seconds, and on request the times of links and which names share an
// inode.
func describe(t *testing.T, dir string, copied bool) map[string]string {
	t.Helper()
	all := mirrortest.Describe(t, dir, true)
	for name, text := range all {
		text = fraction.ReplaceAllString(text, "Z")
		if copied {
			text = shared.ReplaceAllString(text, "$1")
		}
		all[name] = text
	}
	return all
}

// counting notes which files travel.
type counting struct {
	*mirrortest.Upstream
	fetched *[]string
}

func (c counting) Transfer(ctx context.Context, r client.Request) (client.Result, error) {
	old := c.Fail
	c.Fail = func(name string) error { *c.fetched = append(*c.fetched, name); return nil }
	defer func() { c.Fail = old }()
	return c.Upstream.Transfer(ctx, r)
}

// A node takes over what it was given, does not serve it as it is, and fetches
// what differs and nothing else.
func TestFirstSyncFetchesOnlyWhatDiffers(t *testing.T) {
	dir := mirrortest.TempDir(t)
	web, up := filepath.Join(dir, "web"), filepath.Join(dir, "upstream")
	same := []string{"pool/a: a", "pool/b = pool/a", "0700 pool/deep/c: c", "empty/", "latest -> pool/a", "0600 private: p", "dists/Release: old"}
	mirrortest.Make(t, web, ".edition/x: x")
	mirrortest.Make(t, filepath.Join(web, "demo"), append(same, "pool/changed: before", "pool/gone: gone")...)
	mirrortest.Make(t, up, append(same, "pool/changed: afterwards", "pool/new: new", "dists/Release: new")...)

	s, out := write(t, web, projects("demo"))
	if d := cmp.Diff([]Part{{Project: "demo", Files: 7, Bytes: 1 + 1 + 1 + 3 + 6 + 4}}, s.Parts, cmp.AllowUnexported(Part{}), cmp.FilterPath(func(p cmp.Path) bool {
		return p.Last().String() == ".root" || p.Last().String() == ".node"
	}, cmp.Ignore())); d != "" {
		t.Errorf("parts (-want +got):\n%s", d)
	}
	perm := mounted(t, out)
	if d := cmp.Diff(describe(t, filepath.Join(web, "demo"), true), describe(t, filepath.Join(perm, "mirror/demo"), true)); d != "" {
		t.Errorf("seeded tree (-want +got):\n%s", d)
	}
	if got, err := os.ReadFile(filepath.Join(perm, layout.LogTargetFile)); string(got) != layout.LogAddress+"\n" || err != nil {
		t.Errorf("services' lines are sent to %q, %v", got, err)
	}

	var fetched []string
	job := mirror.Job{
		Project: projects("demo")[0], Tree: filepath.Join(perm, "mirror/demo"), Stage: filepath.Join(perm, "stage/demo"),
		Dial: func(context.Context) (mirror.Upstream, error) {
			return counting{&mirrortest.Upstream{Dir: up}, &fetched}, nil
		},
		Now: time.Now, Wait: mirror.Wait, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Progress: func(status.Progress) {},
	}
	if !mirror.Torn(job) {
		t.Error("the node would serve the tree before its first sync")
	}
	if _, err := mirror.Run(t.Context(), job, mirror.Fetch); err != nil {
		t.Fatal(err)
	}
	if mirror.Torn(job) {
		t.Error("the node would not serve the tree after its first sync")
	}
	slices.Sort(fetched)
	if d := cmp.Diff([]string{"dists/Release", "pool/changed", "pool/new"}, fetched); d != "" {
		t.Errorf("fetched (-want +got):\n%s", d)
	}
	if d := cmp.Diff(describe(t, up, false), describe(t, job.Tree, false)); d != "" {
		t.Errorf("after the sync (-want +got):\n%s", d)
	}
}

// Owners, and what sync never takes over.
func TestAsSyncWouldHaveLeftIt(t *testing.T) {
	web := mirrortest.TempDir(t)
	p := projects("deep", "named")
	p[0].Path, p[0].Filter = "above/deep", []string{"- /left/out/", "- *.tmp"}
	mirrortest.Make(t, web, "above/deep/x: x", "above/deep/left/out/y: y", "above/deep/left/z: z", "above/deep/a.tmp: a",
		"above/deep/.~tmp~/part: p", "above/deep/l -> ../other", "named/4755: s")
	p[1].Path = "elsewhere"
	if err := os.Chmod(filepath.Join(web, "named/4755"), 0o755|fs.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	_, out := write(t, web, p)
	perm := mounted(t, out)
	var got []string
	for name := range mirrortest.Describe(t, perm, false) {
		got = append(got, name)
	}
	want := []string{".", "lost+found", "remote_syslog", "remote_syslog/target", "mirror", "mirror/above", "mirror/above/deep", "mirror/above/deep/x",
		"mirror/above/deep/left", "mirror/above/deep/left/z", "mirror/above/deep/l", "mirror/elsewhere", "mirror/elsewhere/4755",
		"stage", "stage/deep", "stage/deep/torn", "stage/named", "stage/named/torn"}
	less := cmp.Transformer("set", func(in []string) map[string]bool {
		set := map[string]bool{}
		for _, s := range in {
			set[s] = true
		}
		return set
	})
	if d := cmp.Diff(want, got, less); d != "" {
		t.Errorf("names (-want +got):\n%s", d)
	}
	for file, want := range map[string]string{
		"/": "0755 0", "/remote_syslog/target": "0644 0", "/mirror": "0755 803", "/mirror/above": "0755 803", "/mirror/above/deep/x": "0644 803",
		"/mirror/elsewhere/4755": "0755 803", "/stage": "0700 803", "/stage/deep": "0700 803", "/stage/deep/torn": "0600 803",
	} {
		stat, err := exec.CommandContext(t.Context(), "/usr/sbin/debugfs", "-R", "stat "+file, out.Name()).Output()
		mode, owner, _ := strings.Cut(want, " ")
		if err != nil || !strings.Contains(string(stat), "Mode:  "+mode) || !strings.Contains(strings.Join(strings.Fields(string(stat)), " "), "User: "+owner+" Group: "+owner+" ") {
			t.Errorf("%s: want %s in\n%s%v", file, want, stat, err)
		}
	}
}

func TestVerify(t *testing.T) {
	web := mirrortest.TempDir(t)
	mirrortest.Make(t, web, "demo/a: "+strings.Repeat("content ", 5000), "demo/b: b")
	s, out := write(t, web, projects("demo"))
	verify := func() error { return s.Verify(t.Context(), out, func(int64) error { return nil }) }
	if err := verify(); err != nil {
		t.Fatal(err)
	}
	read := int64(0)
	if err := s.Verify(t.Context(), out, func(n int64) error { read += n; return nil }); err != nil || read != s.Size() {
		t.Errorf("read %d of %d bytes: %v", read, s.Size(), err)
	}
	span := s.spans[0]
	for name, at := range map[string]int64{
		"content": span.Offset + 4097, "its end": span.Offset + span.Length - 1, "superblock": 1024 + 0x78, "before": span.Offset - 1, "last": s.Size() - 1,
	} {
		flip(t, out, at)
		if err := verify(); !errors.Is(err, ErrDiffers) {
			t.Errorf("%s: a flipped byte at %d: %v", name, at, err)
		}
		flip(t, out, at)
	}
	stop := errors.New("stop")
	if err := s.Verify(t.Context(), out, func(int64) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("told to stop: %v", err)
	}
	if err := s.Prepare(t.Context(), partitionSize); err == nil {
		t.Error("a second disk got the same file system")
	}
}

func flip(t *testing.T, f *os.File, at int64) {
	t.Helper()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

func TestRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		make []string
		want string
	}{
		"no such folder":  {nil, "no such file"},
		"another project": {[]string{"demo/a: a", "kernel/b: b"}, "kernel: not in the node's file, which has demo"},
		"nothing of it":   {[]string{"README: r"}, "none of the node's projects is in it (demo)"},
		"a link instead":  {[]string{"there/a: a", "-there", "demo -> .."}, "is no folder"},
		"links out":       {[]string{"demo/etc -> /etc", "demo/up -> ../../x", "demo/ok -> ../x"}, `link "etc" leads out of the tree (to "/etc"), link "up" leads out`},
		"many links out":  {[]string{"demo/1 -> /", "demo/2 -> /", "demo/3 -> /", "demo/4 -> /", "demo/5 -> /", "demo/6 -> /", "demo/7 -> /"}, "and 2 more"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(mirrortest.TempDir(t), "web")
			if c.make != nil {
				mirrortest.Make(t, dir, c.make...)
			}
			s, err := Open(t.Context(), dir, projects("demo"))
			if err == nil || !strings.Contains(err.Error(), c.want) || s != nil {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	dir := mirrortest.TempDir(t)
	mirrortest.Make(t, dir, "demo/a: a")
	if err := unix.Mkfifo(filepath.Join(dir, "demo/pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, projects("demo")); err == nil || !strings.Contains(err.Error(), `"pipe" is neither`) {
		t.Errorf("a pipe: %v", err)
	}
}

func TestDoesNotFit(t *testing.T) {
	dir := mirrortest.TempDir(t)
	mirrortest.Make(t, dir, "demo/a: a")
	if err := os.Truncate(filepath.Join(dir, "demo/a"), partitionSize); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), dir, projects("demo"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Prepare(t.Context(), partitionSize); err == nil || !strings.Contains(err.Error(), "does not fit the disk") {
		t.Errorf("error %v", err)
	}
}

// What changes while it is copied is not half one and half the other.
func TestChangesWhileItIsCopied(t *testing.T) {
	for _, change := range []string{"demo/b: another", "demo/b -> a", "-demo/b"} {
		dir := mirrortest.TempDir(t)
		mirrortest.Make(t, dir, "demo/a: a", "demo/b: b")
		s, err := Open(t.Context(), dir, projects("demo"))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Prepare(t.Context(), partitionSize); err != nil {
			t.Fatal(err)
		}
		mirrortest.Make(t, dir, change)
		if err := s.Write(t.Context(), partition(t), partitionSize); err == nil || !strings.Contains(err.Error(), "demo/b") {
			t.Errorf("%s: error %v", change, err)
		}
		work := s.dir
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(work); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("temporary folder left behind: %v", err)
		}
	}
}

// An interrupted seed leaves nothing that looks like a file system.
func TestInterrupted(t *testing.T) {
	dir := mirrortest.TempDir(t)
	mirrortest.Make(t, dir, "demo/a: a", "demo/b: b")
	_, out := write(t, dir, projects("demo"))
	s, err := Open(t.Context(), dir, projects("demo"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Prepare(t.Context(), partitionSize); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), &failing{File: out, after: 12}, partitionSize); !errors.Is(err, io.ErrShortWrite) {
		t.Fatalf("error %v", err)
	}
	cmd := exec.CommandContext(t.Context(), "/usr/sbin/e2fsck", "-fn", out.Name())
	if said, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(said), "Bad magic number") {
		t.Errorf("e2fsck: %v\n%s", err, said)
	}
}

// failing is a disk that is unplugged after a number of writes.
type failing struct {
	*os.File
	after int
}

func (f *failing) WriteAt(b []byte, off int64) (int, error) {
	if f.after--; f.after < 0 {
		return 0, io.ErrShortWrite
	}
	return f.File.WriteAt(b, off)
}
