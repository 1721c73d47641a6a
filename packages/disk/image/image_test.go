package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"micromirror/packages/disk"
	"micromirror/packages/identity"
	"micromirror/packages/perm"
	"micromirror/packages/release"
	"micromirror/packages/slot"
	"micromirror/packages/verity"
)

const testSize = 4 << 30

// testRelease makes a release directory with random files of the right shape.
func testRelease(t *testing.T) (dir string, r release.Release) {
	t.Helper()
	dir = t.TempDir()
	random := rand.NewChaCha8([32]byte{1})
	for name, size := range map[string]int{release.KernelFile: 8 << 20, release.InitrdFile: 5<<20 + 3, release.LoaderFile: 90001, release.RootFile: 20<<20 + 5} {
		b := make([]byte, size)
		random.Read(b)
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := verity.Append(filepath.Join(dir, release.RootFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := perm.Template(t.Context(), filepath.Join(dir, release.PermFile)); err != nil {
		t.Fatal(err)
	}
	r = release.Release{Version: "2026.11.21-test", Built: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC),
		Root: release.Root{Verity: tree}, Loader: release.Loader{Version: "262"}, Hardware: []string{"qemu"}, Options: "gpt ro console=ttyS0"}
	if err := release.Write(dir, r); err != nil {
		t.Fatal(err)
	}
	return dir, r
}

var testIdentity = identity.Set{"node.json": []byte(`{"name":"test"}`), "fleet.json": []byte("{}")}

func writeTestImage(t *testing.T, dir string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "disk.img")
	if err := Write(t.Context(), out, Spec{Size: testSize, ReleaseDir: dir, Identity: testIdentity}); err != nil {
		t.Fatal(err)
	}
	return out
}

// extract copies one partition of an image to a sparse file.
func extract(t *testing.T, img string, partition int) string {
	t.Helper()
	f, err := os.Open(img)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := readTable(t, f).Part(partition)
	out, err := os.Create(filepath.Join(t.TempDir(), p.Name))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := out.Truncate(p.Size()); err != nil {
		t.Fatal(err)
	}
	end := p.Offset() + p.Size()
	for at := p.Offset(); ; {
		from, err := f.Seek(at, unix.SEEK_DATA)
		if err != nil || from >= end { // an error says that only a hole follows
			return out.Name()
		}
		if at, err = f.Seek(from, unix.SEEK_HOLE); err != nil {
			t.Fatal(err)
		}
		at = min(at, end)
		to := io.NewOffsetWriter(out, from-p.Offset())
		if _, err := io.Copy(to, io.NewSectionReader(f, from, at-from)); err != nil {
			t.Fatal(err)
		}
	}
}

func readTable(t *testing.T, f *os.File) *disk.Table {
	t.Helper()
	table, err := disk.Read(f, testSize)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// run runs a peer that must be content.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		name = "/usr/sbin/" + name
	}
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestImage(t *testing.T) {
	dir, r := testRelease(t)
	img := writeTestImage(t, dir)
	t.Run("peers accept it", func(t *testing.T) { checkByPeers(t, dir, img) })
	t.Run("contents", func(t *testing.T) { checkContents(t, dir, r, img) })
	t.Run("sparse and fresh", func(t *testing.T) { checkFresh(t, img, writeTestImage(t, dir)) })
}

func checkByPeers(t *testing.T, dir, img string) {
	if out := run(t, "sgdisk", "-v", img); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk -v: %s", out)
	}
	run(t, "sfdisk", "-V", img)
	run(t, "e2fsck", "-fn", extract(t, img, disk.Perm))

	esp := extract(t, img, disk.ESP)
	run(t, "fsck.fat", "-n", "-v", esp)
	for path, file := range map[string]string{
		"EFI/BOOT/BOOTX64.EFI": release.LoaderFile,
		"slot-a/vmlinuz":       release.KernelFile, "slot-b/vmlinuz": release.KernelFile,
		"slot-a/initrd": release.InitrdFile, "slot-b/initrd": release.InitrdFile,
	} {
		want, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if got := run(t, "mtype", "-i", esp, "::"+path); got != string(want) {
			t.Errorf("%s on the ESP differs from %s", path, file)
		}
	}
	if got := run(t, "mdir", "-b", "-i", esp, "::loader/entries"); got != "::/loader/entries/slot-a+5.conf\n::/loader/entries/slot-b.conf\n" {
		t.Errorf("entries: %q", got)
	}
	if got := run(t, "mdir", "-i", esp, "::slot-a/vmlinuz"); !strings.Contains(got, "2026-11-21") {
		t.Errorf("the kernel's time is not the build's: %s", got)
	}
}

func checkContents(t *testing.T, dir string, r release.Release, img string) {
	f, err := os.Open(img)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table := readTable(t, f)
	root, err := os.ReadFile(filepath.Join(dir, release.RootFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []slot.Name{slot.A, slot.B} {
		got := make([]byte, len(root))
		if _, err := f.ReadAt(got, table.Part(n.Partition()).Offset()); err != nil || !bytes.Equal(got, root) {
			t.Errorf("root %s differs from %s: %v", n, release.RootFile, err)
		}
	}
	p := table.Part(disk.Identity)
	got, err := identity.Read(io.NewSectionReader(f, p.Offset(), p.Size()))
	if diff := cmp.Diff(testIdentity, got); err != nil || diff != "" {
		t.Errorf("identity (-want +got): %v\n%s", err, diff)
	}

	body := run(t, "mtype", "-i", extract(t, img, disk.ESP), "::loader/entries/slot-a+5.conf")
	e, err := slot.ParseEntry("slot-a+5.conf", []byte(body))
	want := slot.Entry{Slot: slot.A, Generation: 2, Release: r.Version, Counted: true, TriesLeft: 5,
		Options: fmt.Sprintf("root=PARTUUID=%s/PARTNROFF=1 verity=%s gpt ro console=ttyS0", table.Part(1).GUID, r.Root.Verity)}
	if diff := cmp.Diff(want, e); err != nil || diff != "" {
		t.Errorf("entry (-want +got): %v\n%s", err, diff)
	}
}

func checkFresh(t *testing.T, images ...string) {
	guids := map[disk.GUID]bool{}
	for _, img := range images {
		var st unix.Stat_t
		if err := unix.Stat(img, &st); err != nil {
			t.Fatal(err)
		}
		if used := st.Blocks * 512; used > 120<<20 {
			t.Errorf("image occupies %d MiB", used>>20)
		}
		f, err := os.Open(img)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		table := readTable(t, f)
		guids[table.GUID] = true
		for n := 1; n <= 5; n++ {
			guids[table.Part(n).GUID] = true
		}
	}
	if len(guids) != 6*len(images) {
		t.Errorf("%d images have %d different GUIDs", len(images), len(guids))
	}
}

func TestRefusesBeforeWriting(t *testing.T) {
	good, _ := testRelease(t)
	damaged := t.TempDir()
	if err := os.CopyFS(damaged, os.DirFS(good)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(damaged, release.InitrdFile), 5); err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		out  string
		spec Spec
		want string
	}{
		{"too small", t.Context(), "disk.img", Spec{Size: disk.MinSize - 512, ReleaseDir: good}, "disk too small: it has 3137 MiB, at least 3138 MiB are needed"},
		{"no size", t.Context(), "disk.img", Spec{ReleaseDir: good}, "disk too small"},
		{"damaged release", t.Context(), "disk.img", Spec{Size: testSize, ReleaseDir: damaged}, `initrd has 5 bytes`},
		{"no release", t.Context(), "disk.img", Spec{Size: testSize, ReleaseDir: t.TempDir()}, `run "make image" again`},
		{"directory", t.Context(), ".", Spec{Size: testSize, ReleaseDir: good}, "neither a file nor a disk"},
		{"no such folder", t.Context(), "none/disk.img", Spec{Size: testSize, ReleaseDir: good}, "no such file"},
		{"canceled", canceled, "disk.img", Spec{Size: testSize, ReleaseDir: good}, "context canceled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			err := Write(c.ctx, filepath.Join(dir, c.out), c.spec)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestCanceledHalfwayLeavesTheOldImage(t *testing.T) {
	dir, _ := testRelease(t)
	out := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(out, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var stages []string
	spec := Spec{Size: testSize, ReleaseDir: dir, Identity: testIdentity, Progress: func(p Progress) {
		if len(stages) == 0 || stages[len(stages)-1] != p.Stage {
			stages = append(stages, p.Stage)
		}
		if p.Stage == "root-b" {
			cancel()
		}
	}}
	if err := Write(ctx, out, spec); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
	if diff := cmp.Diff([]string{"release", "esp", "root-a", "root-b"}, stages); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
	if got, _ := os.ReadFile(out); string(got) != "old" {
		t.Error("the old image is gone")
	}
	if left, _ := os.ReadDir(filepath.Dir(out)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	checkProgress(t, dir, out)
}

// checkProgress writes the image again, and watches.
func checkProgress(t *testing.T, dir, out string) {
	var last Progress
	spec := Spec{Size: testSize, ReleaseDir: dir, Identity: testIdentity, Progress: func(p Progress) {
		if p.Stage != "release" && (p.Done < last.Done || p.Total < p.Done) {
			t.Errorf("progress went from %v to %v", last, p)
		}
		last = p
	}}
	if err := Write(t.Context(), out, spec); err != nil {
		t.Fatal(err)
	}
	if last.Stage != "flush" || last.Done != last.Total {
		t.Errorf("last progress %+v", last)
	}
	if st, err := os.Stat(out); err != nil || st.Size() != testSize {
		t.Errorf("the old image was not replaced: %v, %v", st, err)
	}
}

func TestRegionIsBounded(t *testing.T) {
	r := &region{&writer{}, 0, 4096}
	for _, off := range []int64{-1, 4095, 1 << 62} {
		if _, err := r.WriteAt(make([]byte, 2), off); err == nil {
			t.Errorf("write at %d of a region of 4096 bytes succeeded", off)
		}
	}
}
