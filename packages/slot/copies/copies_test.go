package copies

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/disk"
	"micromirror/packages/slot"
)

// cmdline is what the loader starts the kernel of slot a with.
var cmdline = `initrd=\slot-a\initrd ` + entry(slot.A, 1).Options

type directory string

func (d directory) Path() string                      { return string(d) }
func (d directory) Change(f func(string) error) error { return f(string(d)) }

func entry(n slot.Name, generation uint64) slot.Entry {
	return slot.Entry{Slot: n, Generation: generation, Release: "2026.11.01", Options: disk.RootArgument(disk.GUID{1}, n.Partition()) + " ro"}
}

func put(t *testing.T, dir, name, content string) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// newKeeper is a node whose two slots were found good.
func newKeeper(t *testing.T) *Keeper {
	t.Helper()
	esp := t.TempDir()
	put(t, esp, "EFI/BOOT/BOOTX64.EFI", "loader")
	put(t, esp, "loader/loader.conf", "timeout 0\n")
	put(t, esp, "loader/entries/x", "")
	k := &Keeper{ESP: directory(esp), Dir: t.TempDir()}
	for generation, n := range []slot.Name{slot.A, slot.B} {
		put(t, esp, n.Dir()+"/vmlinuz", "kernel "+string(n))
		put(t, esp, n.Dir()+"/initrd", "initrd "+string(n))
		if err := slot.Put(esp, entry(n, uint64(generation)+1).WithTries(5)); err != nil {
			t.Fatal(err)
		}
		if err := k.Learn(n); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

func TestCheckRestoresWhatIsDamaged(t *testing.T) {
	k := newKeeper(t)
	esp := k.ESP.Path()
	if restored, err := k.Check(slot.A, cmdline); err != nil || restored != nil {
		t.Errorf("of a sound partition restored %v, %v", restored, err)
	}
	for file, damage := range map[string]string{"EFI/BOOT/BOOTX64.EFI": "loadxr", "slot-a/initrd": "", "slot-b/vmlinuz": "gone"} {
		put(t, esp, file, damage)
	}
	for _, file := range []string{"loader/loader.conf", "slot-b/vmlinuz", "loader/entries/slot-a+5.conf"} {
		if err := os.Remove(filepath.Join(esp, file)); err != nil {
			t.Fatal(err)
		}
	}
	restored, err := k.Check(slot.A, cmdline)
	want := []string{"boot entry of slot a", "EFI/BOOT/BOOTX64.EFI", "loader/loader.conf", "slot-a/initrd", "slot-b/vmlinuz"}
	if d := cmp.Diff(want, restored); d != "" || err != nil {
		t.Errorf("%v, restored (-want +got):\n%s", err, d)
	}
	for file, want := range map[string]string{"EFI/BOOT/BOOTX64.EFI": "loader", "slot-a/initrd": "initrd a", "slot-b/vmlinuz": "kernel b", "loader/loader.conf": "timeout 0\n"} {
		if got := read(t, esp, file); got != want {
			t.Errorf("%s = %q", file, got)
		}
	}
	entries, err := slot.List(esp)
	if err != nil || len(entries) != 2 || entries[1] != entry(slot.A, 1) {
		t.Errorf("entries %+v, %v", entries, err)
	}
}

// The files of a release that was installed since are not those of the record.
func TestCheckLeavesANewReleaseAlone(t *testing.T) {
	k := newKeeper(t)
	esp := k.ESP.Path()
	put(t, esp, "slot-b/vmlinuz", "newer kernel")
	if err := slot.Put(esp, entry(slot.B, 3).WithTries(3)); err != nil {
		t.Fatal(err)
	}
	if restored, err := k.Check(slot.A, cmdline); err != nil || restored != nil || read(t, esp, "slot-b/vmlinuz") != "newer kernel" {
		t.Errorf("restored %v, %v", restored, err)
	}
	// While its entry is gone, it is on its way.
	if err := slot.Drop(esp, slot.B); err != nil {
		t.Fatal(err)
	}
	if restored, err := k.Check(slot.A, cmdline); err != nil || restored != nil || read(t, esp, "slot-b/vmlinuz") != "newer kernel" {
		t.Errorf("restored %v, %v", restored, err)
	}
}

func TestCopiesAreMadeAnew(t *testing.T) {
	k := newKeeper(t)
	copies, err := filepath.Glob(filepath.Join(k.Dir, "boot", "*"))
	if err != nil || len(copies) != 6 {
		t.Fatalf("copies %v, %v", copies, err)
	}
	put(t, "", copies[0], "damaged")
	if err := os.Remove(copies[1]); err != nil {
		t.Fatal(err)
	}
	put(t, k.Dir, "boot/unused", "")
	if restored, err := k.Check(slot.A, cmdline); err != nil || restored != nil {
		t.Errorf("restored %v, %v", restored, err)
	}
	again, _ := filepath.Glob(filepath.Join(k.Dir, "boot", "*"))
	if d := cmp.Diff(copies, again); d != "" || read(t, "", copies[0]) == "damaged" {
		t.Errorf("copies (-want +got):\n%s", d)
	}
	// Damaged in both places.
	put(t, "", copies[0], "damaged")
	for _, file := range []string{"EFI/BOOT/BOOTX64.EFI", "loader/loader.conf", "slot-a/vmlinuz", "slot-a/initrd", "slot-b/vmlinuz", "slot-b/initrd"} {
		put(t, k.ESP.Path(), file, "damaged, too")
	}
	restored, err := k.Check(slot.A, cmdline)
	if len(restored) != 5 || err == nil || !strings.Contains(err.Error(), "its copy is damaged, too") {
		t.Errorf("restored %v, %v", restored, err)
	}
	put(t, k.Dir, "boot.json", "{")
	if _, err := k.Check(slot.A, cmdline); err == nil {
		t.Error("a damaged record is not reported")
	}
	if err := k.Learn(slot.A); err != nil {
		t.Error(err)
	}
	if _, err := k.Check(slot.A, cmdline); err != nil {
		t.Error(err)
	}
}

// A record that is older than what runs must not bring its kernel back.
func TestCheckLeavesAReleaseAloneThatItDoesNotKnow(t *testing.T) {
	k := newKeeper(t)
	esp := k.ESP.Path()
	put(t, esp, "slot-a/vmlinuz", "newer kernel")
	newer := entry(slot.A, 1) // numbers start again when an entry was lost
	newer.Release, newer.Options = "2026.11.02", newer.Options+" verity=2"
	if err := slot.Put(esp, newer); err != nil {
		t.Fatal(err)
	}
	if restored, err := k.Check(slot.B, entry(slot.B, 2).Options); err != nil || restored != nil || read(t, esp, "slot-a/vmlinuz") != "newer kernel" {
		t.Errorf("restored %v, %v", restored, err)
	}
	k = newKeeper(t)
	esp = k.ESP.Path()
	put(t, esp, "slot-a/vmlinuz", "newer kernel")
	if err := slot.Drop(esp, slot.A); err != nil {
		t.Fatal(err)
	}
	if restored, err := k.Check(slot.A, "root=of-a-newer-release"); err != nil || restored != nil || read(t, esp, "slot-a/vmlinuz") != "newer kernel" {
		t.Errorf("without the entry, restored %v, %v", restored, err)
	}
}

// A disk that was written anew keeps the loader and the kernels that it got then.
func TestDiskWrittenAnew(t *testing.T) {
	k := newKeeper(t)
	esp := k.ESP.Path()
	for _, file := range []string{"EFI/BOOT/BOOTX64.EFI", "loader/loader.conf", "slot-a/vmlinuz", "slot-b/vmlinuz"} {
		put(t, esp, file, "rescued "+file)
	}
	rescued := entry(slot.A, 1)
	rescued.Options = disk.RootArgument(disk.GUID{2}, disk.RootA) + " ro"
	if err := slot.Put(esp, rescued); err != nil {
		t.Fatal(err)
	}
	for range 2 { // by the record, and by what was learned in its place
		if restored, err := k.Check(slot.A, rescued.Options); err != nil || restored != nil || read(t, esp, "EFI/BOOT/BOOTX64.EFI") != "rescued EFI/BOOT/BOOTX64.EFI" {
			t.Errorf("restored %v, %v", restored, err)
		}
		if err := k.Learn(slot.A); err != nil {
			t.Fatal(err)
		}
	}
	put(t, esp, "loader/loader.conf", "damaged")
	if restored, err := k.Check(slot.A, rescued.Options); err != nil || len(restored) != 1 || read(t, esp, "loader/loader.conf") != "rescued loader/loader.conf" {
		t.Errorf("restored %v, %v", restored, err)
	}
}
