package mirror

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/mirror/edition"
	"micromirror/packages/mirror/mirrortest"
	"micromirror/packages/mirror/status"
	"micromirror/packages/project"
)

// victim is a run in a process of its own, which the test may kill or starve.
type victim struct {
	Root   string // holds upstream, mirror and stage
	KillAt int    // the step before which it dies; negative for never
	Disk   int    // size of the file system it gets, in KiB; 0 for the test's own
	Inodes int    // how many inodes that has; 0 for enough
	KillIn string // the beginning of the step before which it dies
	FillIn string // the beginning of the step before which its disk fills up
}

// TestMain lets the test binary be the victim.
func TestMain(m *testing.M) {
	text := os.Getenv("MIRROR_TEST_VICTIM")
	if text == "" {
		os.Exit(m.Run())
	}
	var v victim
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(err)
	}
	switch err := v.run(); {
	case err != nil:
		fmt.Println("error", err)
	case v.FillIn == "":
		fmt.Println("done")
	}
}

// run is what the victim does. It says on standard output which step comes next.
func (v *victim) run() error {
	if v.Disk > 0 {
		options := fmt.Sprintf("size=%dk,nr_inodes=%d", v.Disk, v.Inodes)
		if err := unix.Mount("tmpfs", filepath.Join(v.Root, "disk"), "tmpfs", 0, options); err != nil {
			return err
		}
	}
	if v.FillIn != "" {
		result, err := v.fill()
		fmt.Println("done:", result)
		return err
	}
	n := 0
	_, err := Run(context.Background(), v.job(func(step string) error {
		fmt.Println("step", step)
		if n == v.KillAt || v.KillIn != "" && strings.HasPrefix(step, v.KillIn) {
			unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
		n++
		return nil
	}), Fetch)
	return err
}

func (v *victim) job(fault func(string) error) Job {
	upstream := &mirrortest.Upstream{Dir: filepath.Join(v.Root, "upstream")}
	return Job{
		Project: project.Complete("demo", project.Project{Kind: "apt"}),
		Tree:    filepath.Join(v.Root, "disk/mirror"), Stage: filepath.Join(v.Root, "disk/stage"), Editions: filepath.Join(v.Root, "disk", edition.Folder),
		Dial: func(context.Context) (Upstream, error) { return upstream, nil },
		Gone: map[string]time.Time{}, Attempts: 1,
		Now: time.Now, Wait: Wait, Log: slog.New(slog.DiscardHandler), Progress: func(status.Progress) {}, Fault: fault,
	}
}

// start runs the victim to its end and returns its last words and how it died.
func (v *victim) start(t *testing.T, attr *syscall.SysProcAttr) (step, last string, err error) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MIRROR_TEST_VICTIM="+v.encode())
	cmd.SysProcAttr = attr
	out, err := cmd.Output()
	lines := bufio.NewScanner(strings.NewReader(string(out)))
	for lines.Scan() {
		last = lines.Text()
		if s, ok := strings.CutPrefix(last, "step "); ok {
			step = s
		}
	}
	return step, last, err
}

// TestKilledAtEveryStep kills the process of the second of two runs before each
// of its steps in turn. The next run must find everything, and the tree must not
// have been inconsistent in between.
func TestKilledAtEveryStep(t *testing.T) {
	for n := 0; ; n++ {
		v := &victim{Root: mirrortest.TempDir(t), KillAt: -1}
		mirrortest.Make(t, v.Root, "disk/")
		upstream := filepath.Join(v.Root, "upstream")
		mirrortest.Make(t, upstream, archive...)
		if _, last, err := v.start(t, nil); err != nil || last != "done" {
			t.Fatalf("first run: %s, %v", last, err)
		}
		mirrortest.Make(t, upstream, "pool/new: new", "pool/a: a file now", "-pool/c", "dists/one/main/Packages: names new",
			"dists/one/InRelease: newer", "-dists/one/main/by-hash", "-dists/stable", "dists/stable/x: directory now", "pool/twin = pool/new")
		v.KillAt = n
		step, last, err := v.start(t, nil)
		if err == nil && last == "done" {
			if n < 18 {
				t.Errorf("only %d steps", n)
			}
			t.Logf("%d steps, killed before each", n)
			return
		}
		release, _ := os.ReadFile(filepath.Join(v.Root, "disk/mirror/dists/one/InRelease"))
		if _, err := os.Lstat(filepath.Join(v.Root, "disk/mirror/pool/new")); string(release) == "newer" && err != nil {
			t.Errorf("killed before %q: the index is newer than the content", step)
		}
		v.KillAt = -1
		if _, last, err := v.start(t, nil); err != nil || last != "done" {
			t.Errorf("run after the kill before %q: %s, %v", step, last, err)
		}
		w := &world{t: t, upstream: &mirrortest.Upstream{Dir: upstream}, job: v.job(nil)}
		w.same()
	}
}

// TestDiskFull gives runs file systems of growing size, until one is large
// enough: whatever does not fit is said, and nothing half-made is published.
func TestDiskFull(t *testing.T) {
	for size := 64; ; size += 160 {
		v := &victim{Root: mirrortest.TempDir(t), KillAt: -1, Disk: size}
		mirrortest.Make(t, v.Root, "disk/")
		mirrortest.Make(t, filepath.Join(v.Root, "upstream"), "pool/large: "+strings.Repeat("x", 500<<10), "pool/small: y", "dists/x/InRelease: z")
		_, last, err := v.start(t, newNamespaces())
		if err != nil {
			t.Fatalf("%d KiB: %s, %v", size, last, err)
		}
		if last == "done" {
			if size < 500 {
				t.Errorf("fits into %d KiB", size)
			}
			return
		}
		if !strings.Contains(last, "disk space") && !strings.Contains(last, "no space left") {
			t.Errorf("%d KiB: %s", size, last)
		}
		if size > 4096 {
			t.Fatalf("does not even fit into %d KiB: %s", size, last)
		}
	}
}

// newNamespaces lets a process mount without being root.
func newNamespaces() *syscall.SysProcAttr {
	id := func(host int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: 0, HostID: host, Size: 1}}
	}
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: id(os.Getuid()), GidMappings: id(os.Getgid()),
	}
}

// TestStalledUpstream is one that accepts and then says nothing more.
func TestStalledUpstream(t *testing.T) {
	for _, after := range []int64{10, 100, 300} {
		w, peer := peerWorld(t, project.Project{Kind: "apt"}, archive...)
		w.mustRun()
		w.change("pool/new: " + strings.Repeat("new", 1000))
		peer.Stall.Store(after)
		w.job.Attempts = 1
		w.job.Dial = RsyncDialer(w.job.Project, nil, time.Second, w.job.Log)
		if _, err := w.run(); err == nil {
			t.Errorf("stalled after %d bytes: no error", after)
		}
		peer.Stall.Store(0)
		w.mustRun()
		w.same()
	}
}

// TestSwaps is an upstream that turns what it listed into something else before
// it is fetched.
func TestSwaps(t *testing.T) {
	for name, swap := range map[string][]string{
		"file to link out":  {"pool/new -> /etc/passwd"},
		"file to directory": {"-pool/new", "pool/new/x: y"},
		"file to nothing":   {"-pool/new"},
		"directory to link": {"-pool", "elsewhere/new: other", "pool -> elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := peerWorld(t, project.Project{Kind: "apt"}, archive...)
			w.mustRun()
			before := mirrortest.Describe(t, w.job.Tree, false)
			w.change("pool/new: new", "dists/one/InRelease: names new")
			w.job.Attempts = 1
			w.job.Fault = func(step string) error {
				if step == "fetch" {
					w.change(swap...)
				}
				return nil
			}
			if _, err := w.run(); !errors.Is(err, ErrPart) {
				t.Errorf("error = %v, want %v", err, ErrPart)
			}
			w.job.Fault = nil
			after := mirrortest.Describe(t, w.job.Tree, false)
			if before["dists/one/InRelease"] != after["dists/one/InRelease"] {
				t.Error("the index was published")
			}
			w.mustRun()
			if _, err := os.Stat(filepath.Join(w.job.Tree, "dists/one/InRelease")); err != nil {
				t.Error(err)
			}
		})
	}
}

// FuzzProposal hands the publisher arbitrary plans: none may touch anything
// outside the tree and the stage, nor panic.
func FuzzProposal(f *testing.F) {
	f.Add([]byte("drop 0 0 0 0 \"pool/a\" \"\"\naway 40000 0 0 0 \"pool\" \"\"\n"))
	f.Add([]byte("dir 755 0 0 0 \"x\" \"\"\nlink 0 0 1 1 \"x/y\" \"/etc/passwd\"\nmode 600 0 0 0 \"x/y\" \"\"\n"))
	f.Add([]byte("hard 0 0 0 0 \"x\" \"pool/a/a_1.deb\"\ntime 40755 0 5 5 \".\" \"\"\n"))
	f.Fuzz(func(t *testing.T, lines []byte) {
		w := newWorld(t, archive...)
		w.mustRun()
		outside := filepath.Join(filepath.Dir(w.job.Tree), "neighbour")
		mirrortest.Make(t, outside, "precious: x")
		before := mirrortest.Describe(t, outside, true)
		Run(t.Context(), w.job, func(_ context.Context, j Job) (Outcome, error) {
			text := "micromirror-plan 1 \"demo\" true\n" + string(lines)
			text += "end " + strconv.Itoa(strings.Count(text, "\n")) + fmt.Sprintf(" %08x\n", crc(text))
			name := filepath.Join(Staging(j.Stage), proposalFile)
			return Outcome{Complete: true, Proposal: name}, os.WriteFile(name, []byte(text), 0o600)
		})
		after := mirrortest.Describe(t, outside, true)
		if len(after) != len(before) || after["precious"] != before["precious"] {
			t.Errorf("a plan changed what lies beside the tree: %v", after)
		}
	})
}
