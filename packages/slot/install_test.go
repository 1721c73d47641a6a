package slot

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/disk"
	"micromirror/packages/release"
	"micromirror/packages/verity"
)

// newInstallation makes a node running slot a, and a release for it.
func newInstallation(t *testing.T, files ...file) Installation {
	t.Helper()
	dir := t.TempDir()
	for name, size := range map[string]int{release.KernelFile: chunk + 5, release.InitrdFile: 2*chunk + 1, release.RootFile: 3 * chunk, release.LoaderFile: 1, release.PermFile: 1} {
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte(name[:1]), size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := release.Release{Version: "2026.12.01-new", Loader: release.Loader{Version: "262"}, Options: "gpt ro",
		Root: release.Root{Verity: verity.Tree{RootHash: strings.Repeat("cd", 32), DataBlocks: 7}}}
	if err := release.Write(dir, r); err != nil {
		t.Fatal(err)
	}
	written, err := release.Verify(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "sda3")
	if err := os.WriteFile(root, make([]byte, 4*chunk), 0o644); err != nil {
		t.Fatal(err)
	}
	esp := makeESP(t, files...)
	if err := errors.Join(os.Mkdir(filepath.Join(esp, "slot-b"), 0o755), os.WriteFile(filepath.Join(esp, "slot-b", "old"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	return Installation{ESP: esp, Running: A, RootDevice: root, Disk: disk.GUID{1}, Release: written, Dir: dir}
}

func TestInstallPutsTheReleaseOnTrial(t *testing.T) {
	for _, files := range [][]file{
		{{"slot-a+5", 2}, {"slot-b", 1}},
		{{"slot-a", 2}, {"slot-b+0-3", 3}}, // after a failed update
		{{"slot-a+4-1", 2}},                // after an interrupted one
	} {
		i := newInstallation(t, files...)
		entries, err := List(i.ESP)
		if err != nil {
			t.Fatal(err)
		}
		want := New(B, NextGeneration(entries), i.Release, i.Disk).WithTries(TrialTries)
		got, err := Install(t.Context(), i)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatalf("(-want +got): %v\n%s", err, diff)
		}
		if diff := cmp.Diff([]string{"slot-a", "slot-b+3"}, names(t, i.ESP)); diff != "" {
			t.Errorf("entries (-want +got):\n%s", diff)
		}
		if e, _ := Choose(list(t, i.ESP)); e != want {
			t.Errorf("the loader boots %+v", e)
		}
		for from, to := range map[string]string{
			release.KernelFile: filepath.Join(i.ESP, "slot-b", release.KernelFile),
			release.InitrdFile: filepath.Join(i.ESP, "slot-b", release.InitrdFile),
			release.RootFile:   i.RootDevice,
		} {
			a, err1 := os.ReadFile(filepath.Join(i.Dir, from))
			b, err2 := os.ReadFile(to)
			if err := errors.Join(err1, err2); err != nil || !bytes.HasPrefix(b, a) {
				t.Errorf("%s differs from %s: %v", to, from, err)
			}
		}
		if _, err := os.Stat(filepath.Join(i.ESP, "slot-b", "old")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the old release's file is still there: %v", err)
		}
	}
}

// However far it came, an installation that stops leaves the running slot as the
// only one to boot, and the next one succeeds.
func TestInterruptedInstallKeepsTheRunningSlot(t *testing.T) {
	for stop := 1; ; stop++ {
		i := newInstallation(t, file{"slot-a+5", 2}, file{"slot-b", 1})
		ctx, cancel := context.WithCancel(t.Context())
		steps := 0
		i.Progress = func(int64) {
			if steps++; steps == stop {
				cancel()
			}
		}
		_, err := Install(ctx, i)
		if stop > steps {
			if err != nil || steps < 8 {
				t.Errorf("complete after %d steps: %v", steps, err)
			}
			cancel()
			return
		}
		entries := list(t, i.ESP)
		if err == nil {
			continue // the last step of all
		}
		if len(entries) != 1 || entries[0].Slot != A || entries[0].Generation != 2 || entries[0].Counted {
			t.Fatalf("stopped after %d steps (%v): %+v", stop, err, entries)
		}
		if _, err := Install(t.Context(), i); err != nil {
			t.Fatalf("again after %d steps: %v", stop, err)
		}
	}
}

func TestCleanKeepsWhatBoots(t *testing.T) {
	i := newInstallation(t, file{"slot-a+5", 2}, file{"slot-b", 1})
	keep := []string{"slot-a/vmlinuz", "slot-a/initrd", "slot-b/vmlinuz", "EFI/BOOT/BOOTX64.EFI", "loader/loader.conf", "loader/entries/slot-a+5.conf", "loader/entries/slot-b.conf"}
	gone := []string{"FSCK0000.REC", "slot-a/vmlinuz.tmp", "slot-b/.initrd.tmp1", "loader/entries/.slot-b+3.conf.tmp7"}
	for _, name := range append(slices.Clone(keep[:5]), gone...) {
		path := filepath.Join(i.ESP, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Clean(i.ESP, A); err != nil {
		t.Fatal(err)
	}
	for _, name := range keep {
		if _, err := os.Stat(filepath.Join(i.ESP, name)); err != nil {
			t.Error(err)
		}
	}
	for _, name := range gone {
		if _, err := os.Stat(filepath.Join(i.ESP, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
}

func TestInstallRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Installation) error
		want   string
	}{
		{"no partition", func(i *Installation) error { return os.Remove(i.RootDevice) }, "no such file"},
		{"partition too small", func(i *Installation) error { return os.Truncate(i.RootDevice, chunk) }, "sda3 only 1048576"},
		{"file missing", func(i *Installation) error { return os.Remove(filepath.Join(i.Dir, release.InitrdFile)) }, "initrd: no such file"},
		{"file short", func(i *Installation) error { return os.Truncate(filepath.Join(i.Dir, release.KernelFile), 9) }, "EOF"},
		{"file changed", func(i *Installation) error {
			return os.WriteFile(filepath.Join(i.Dir, release.RootFile), make([]byte, 3*chunk), 0o644)
		}, "read back"},
	} {
		i := newInstallation(t, file{"slot-a+5", 2}, file{"slot-b", 1})
		if err := c.change(&i); err != nil {
			t.Fatal(err)
		}
		if _, err := Install(t.Context(), i); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
		if diff := cmp.Diff([]string{"slot-a"}, names(t, i.ESP)); diff != "" {
			t.Errorf("%s: entries (-want +got):\n%s", c.name, diff)
		}
	}
	i := newInstallation(t, file{"slot-b", 1})
	if _, err := Install(t.Context(), i); err == nil || !strings.Contains(err.Error(), "slot a has no boot entry") {
		t.Errorf("without a fallback: %v", err)
	}
	if diff := cmp.Diff([]string{"slot-b"}, names(t, i.ESP)); diff != "" {
		t.Errorf("without a fallback, entries (-want +got):\n%s", diff)
	}
}
