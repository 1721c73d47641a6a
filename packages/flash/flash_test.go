package flash

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"micromirror/packages/disk"
	"micromirror/packages/disk/image"
	"micromirror/packages/identity"
	"micromirror/packages/perm"
	"micromirror/packages/release"
	"micromirror/packages/verity"
)

const testSize = 4 << 30

// spec describes a disk with a small release.
func spec(t *testing.T) image.Spec {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{release.KernelFile, release.InitrdFile, release.RootFile, release.LoaderFile} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat(name, 1001)), 0o644); err != nil {
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
	r := release.Release{Version: "1", Built: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), Loader: release.Loader{Version: "262"},
		Hardware: []string{"qemu"}, Root: release.Root{Verity: tree}, Options: "ro"}
	if err := release.Write(dir, r); err != nil {
		t.Fatal(err)
	}
	return image.Spec{Size: testSize, ReleaseDir: dir, Identity: identity.Set{"node.json": []byte("{}"), "fleet.json": []byte("{}")}}
}

// A byte that changed anywhere that matters is found.
func TestVerify(t *testing.T) {
	s := spec(t)
	var stages []string
	s.Progress = func(p image.Progress) {
		if len(stages) == 0 || stages[len(stages)-1] != p.Stage {
			stages = append(stages, p.Stage)
		}
	}
	out := filepath.Join(t.TempDir(), "disk")
	if err := Write(t.Context(), out, s); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(stages, " "); !strings.HasSuffix(got, "flush verify") {
		t.Errorf("stages = %s, want verify after flush", got)
	}
	f, err := os.OpenFile(out, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := disk.Read(f, testSize)
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]int64{
		"root-a":   table.Part(disk.RootA).Offset() + 5000,
		"root-b":   table.Part(disk.RootB).Offset(),
		"perm":     table.Part(disk.Perm).Offset() + 3*perm.BlockSize,
		"super":    table.Part(disk.Perm).Offset() + superSize + superMagic,
		"identity": table.Part(disk.Identity).Offset() + 40,
		"esp":      contentOf(t, f, table.Part(disk.ESP), release.InitrdFile+release.InitrdFile),
	} {
		flip(t, f, at)
		if err := Verify(t.Context(), out, s); err == nil {
			t.Errorf("%s: a flipped byte was not found", name)
		}
		flip(t, f, at)
	}
	if err := Verify(t.Context(), out, s); err != nil {
		t.Errorf("all bytes right again: %v", err)
	}
	s.Identity["node.json"] = []byte(`{"name": "other"}`)
	if err := Verify(t.Context(), out, s); !errors.Is(err, errDiffers) {
		t.Errorf("another node's identity: error %v", err)
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

// contentOf finds some content in the partition.
func contentOf(t *testing.T, f *os.File, p disk.Partition, text string) int64 {
	t.Helper()
	b := make([]byte, 16<<20)
	if _, err := f.ReadAt(b, p.Offset()); err != nil {
		t.Fatal(err)
	}
	i := strings.Index(string(b), text)
	if i < 0 {
		t.Fatalf("%q is not in the first 16 MiB", text)
	}
	return p.Offset() + int64(i)
}

func TestInterrupted(t *testing.T) {
	s := spec(t)
	out := filepath.Join(t.TempDir(), "disk")
	for _, stage := range []string{"esp", "root-b", "perm", "flush", "verify"} {
		ctx, cancel := context.WithCancel(t.Context())
		s.Progress = func(p image.Progress) {
			if p.Stage == stage {
				cancel()
			}
		}
		err := Write(ctx, out, s)
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "write it again") {
			t.Errorf("interrupted in %s: error %v, want the remedy", stage, err)
		}
		cancel()
	}
	s.Progress = nil
	if err := Write(t.Context(), out, s); err != nil {
		t.Errorf("once more: %v", err)
	}
}

// What an earlier life left at the ends of a disk is gone; what lies between is
// image's to write.
func TestEndsAreCleared(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(testSize); err != nil {
		t.Fatal(err)
	}
	ends := []int64{0, 512, end - 1, testSize - end, testSize - 1}
	for _, at := range append(ends, end, testSize-end-1) {
		flip(t, f, at)
	}
	if err := clearBoth(f, testSize); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	for _, at := range ends {
		if _, err := f.ReadAt(b, at); err != nil || b[0] != 0 {
			t.Errorf("byte %d = %d, %v", at, b[0], err)
		}
	}
	if err := clearBoth(f, disk.MinSize-1); !errors.Is(err, disk.ErrTooSmall) {
		t.Errorf("a small disk: %v", err)
	}
}
