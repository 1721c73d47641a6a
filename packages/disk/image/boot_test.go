package image

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"micromirror/packages/disk"
	"micromirror/packages/release"
)

// The content of the ESP makes a whole file system of any place where another one
// was, and says what disk it is for.
func TestBootFiles(t *testing.T) {
	dir, _ := testRelease(t)
	g := disk.NewGUID()
	b, err := BootFiles(t.Context(), dir, g)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(b, []byte(g.String())); n != 2 {
		t.Errorf("the GUID is there %d times, want once for each slot", n)
	}
	if len(b) > 40<<20 {
		t.Errorf("%d MiB for two slots of 13 MiB", len(b)>>20)
	}
	place := filepath.Join(t.TempDir(), "esp")
	old := bytes.Repeat([]byte("old file "), len(b)/9+1<<20) // more than is overwritten
	if err := os.WriteFile(place, old, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(place, disk.ESPSize); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(place, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	run(t, "fsck.fat", "-n", "-v", place)
	kernel, err := os.ReadFile(filepath.Join(dir, release.KernelFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"slot-a/vmlinuz", "slot-b/vmlinuz"} {
		if run(t, "mtype", "-i", place, "::"+file) != string(kernel) {
			t.Errorf("%s is not the release's", file)
		}
	}
	if got := run(t, "mdir", "-b", "-i", place, "::loader/entries"); got != "::/loader/entries/slot-a+5.conf\n::/loader/entries/slot-b.conf\n" {
		t.Errorf("entries: %q", got)
	}
	if _, err := BootFiles(t.Context(), t.TempDir(), g); err == nil {
		t.Error("without a release")
	}
}

// A stick that does one thing never runs out of tries.
func TestArguments(t *testing.T) {
	dir, _ := testRelease(t)
	out := filepath.Join(t.TempDir(), "stick.img")
	if err := Write(t.Context(), out, Spec{Size: testSize, ReleaseDir: dir, Identity: testIdentity, Arguments: "mm.rescue=one"}); err != nil {
		t.Fatal(err)
	}
	esp := extract(t, out, disk.ESP)
	if got := run(t, "mdir", "-b", "-i", esp, "::loader/entries"); got != "::/loader/entries/slot-a.conf\n::/loader/entries/slot-b.conf\n" {
		t.Errorf("entries: %q", got)
	}
	for _, n := range []string{"a", "b"} {
		if body := run(t, "mtype", "-i", esp, "::loader/entries/slot-"+n+".conf"); !strings.Contains(body, " gpt ro console=ttyS0 mm.rescue=one\n") {
			t.Errorf("entry of slot %s:\n%s", n, body)
		}
	}
}
