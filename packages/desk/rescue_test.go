package desk

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"micromirror/packages/disk"
	"micromirror/packages/disk/image"
	"micromirror/packages/flash"
	"micromirror/packages/node"
	"micromirror/packages/release"
	"micromirror/packages/rescue"
)

// opened is a disk image.
func opened(t *testing.T, path string) (*os.File, int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	size, err := disk.Size(f)
	if err != nil {
		t.Fatal(err)
	}
	return f, size
}

// A node's disk loses its tables and boot files, and gets them back from the stick
// that the desk has made.
func TestRescueCommand(t *testing.T) {
	o, box, args := flashing(t)
	o.ok(args("abq", "--yes", "abq")...)
	key := keyOn(t, box)
	stick := filepath.Join(t.TempDir(), "stick.img")
	o.typed = []string{"abq"}
	folder := args("abq")[6]
	answer := o.ok("rescue", "--node", "abq", "--release", folder, "--out", stick, "--json")
	var got struct {
		Node, Release string
		Verified      bool
	}
	if err := json.Unmarshal([]byte(answer), &got); err != nil || got.Node != "abq" || got.Release != "1" || !got.Verified {
		t.Errorf("answer %s: %v", answer, err)
	}
	if said := o.stderr.String(); !strings.Contains(said, "Everything on it will be lost") || !strings.Contains(said, "verify") {
		t.Errorf("progress:\n%s", said)
	}

	from, size := opened(t, stick)
	s, err := rescue.Open(t.Context(), from, size)
	if err != nil {
		t.Fatal(err)
	}
	f, boxSize := opened(t, box)
	for _, at := range []int64{0, 1 << 20, boxSize - 1<<20} {
		if _, err := f.WriteAt(bytes.Repeat([]byte("wreck"), 1<<20/5), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Write(t.Context(), f, boxSize, nil); err != nil {
		t.Fatal(err)
	}
	if keyOn(t, box) != key {
		t.Error("the node has another key")
	}
	set, err := identityOn(box)
	if err != nil {
		t.Fatal(err)
	}
	// It is as flash would have written it.
	if err := flash.Verify(t.Context(), box, image.Spec{ReleaseDir: folder, Identity: set}); err != nil {
		t.Errorf("the rescued disk: %v", err)
	}
}

// The stick has nothing of the node but its name.
func TestRescueStickHoldsNoSecrets(t *testing.T) {
	o, box, args := flashing(t)
	write(t, Fleet(o.fleet).SecretFile("abq"), `{"acme": {"email": "secret-of-abq@example.net"}}`)
	o.ok(args("abq", "--yes", "abq")...)
	held, err := identityOn(box)
	if err != nil {
		t.Fatal(err)
	}
	stick := filepath.Join(t.TempDir(), "stick.img")
	o.ok("rescue", "--node", "abq", "--release", args("abq")[6], "--out", stick, "--yes", "abq")
	set, err := identityOn(stick)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"rescue.json"}, slices.Sorted(maps.Keys(set))); d != "" {
		t.Errorf("the stick's set (-want +got):\n%s", d)
	}
	all := written(t, stick)
	for _, name := range []string{node.KeyFile, node.SecretFile, node.FleetFile} {
		if bytes.Contains(all, held[name]) || len(held[name]) == 0 {
			t.Errorf("%s is on the stick, or not on the disk", name)
		}
	}
}

// written is all of a file that is no hole.
func written(t *testing.T, path string) (all []byte) {
	t.Helper()
	f, size := opened(t, path)
	for at := int64(0); at < size; {
		from, err := f.Seek(at, unix.SEEK_DATA)
		if err != nil { // only a hole follows
			return all
		}
		if at, err = f.Seek(from, unix.SEEK_HOLE); err != nil {
			t.Fatal(err)
		}
		piece := make([]byte, at-from)
		if _, err := f.ReadAt(piece, from); err != nil {
			t.Fatal(err)
		}
		all = append(all, piece...)
	}
	return all
}

func TestRescueRefuses(t *testing.T) {
	o, _, args := flashing(t)
	stick := filepath.Join(t.TempDir(), "stick.img")
	try := func(name string, more ...string) []string {
		return append([]string{"rescue", "--node", name, "--release", args("abq")[6], "--out", stick}, more...)
	}
	old := testRelease(t, "0.9", o.clock)
	r, err := release.Read(old)
	if err != nil {
		t.Fatal(err)
	}
	r.Rescue = false
	describe(t, old, *r)
	for name, c := range map[string]struct{ words, args []string }{
		"old release":  {[]string{"0.9", "take a newer one"}, try("abq", "--yes", "abq", "--release", old)},
		"other name":   {[]string{"nothing was done"}, try("abq", "--yes", "abc")},
		"nobody asked": {[]string{"--yes abq"}, try("abq")},
		"no such node": {[]string{"nine.json"}, try("nine", "--yes", "nine")},
		"no release":   {[]string{"release"}, try("abq", "--yes", "abq", "--release", t.TempDir())},
		"not a disk":   {[]string{"not a disk"}, try("abq", "--yes", "abq", "--out", os.DevNull)},
	} {
		t.Run(name, func(t *testing.T) {
			o.t = t
			o.refused(c.words, c.args...)
			if exists(t, stick) {
				t.Error("it was written")
			}
		})
	}
}

// A stick must be one, large enough, and nobody's.
func TestRescueTarget(t *testing.T) {
	dir := t.TempDir()
	d := emptyOffice(t).desk()
	d.machine = flash.Machine{Sys: filepath.Join(dir, "sys"), Proc: filepath.Join(dir, "proc")}
	at := filepath.Join(dir, "sys/class/block/null")
	for name, text := range map[string]string{"size": "7812500\n", "removable": "1\n", "ro": "0\n", "device/model": "Ultra\n"} { // 4 GB
		write(t, filepath.Join(at, name), text)
	}
	write(t, filepath.Join(dir, "proc/self/mountinfo"), "")
	write(t, filepath.Join(dir, "proc/swaps"), "")
	for _, c := range []struct{ file, is, want string }{
		{"removable", "1", ""},
		{"size", "3906250\n", "too small"}, {"size", "7812500\n", ""},
		{"removable", "0", "a disk that stays (Ultra)"}, {"removable", "1", ""},
		{"ro", "1", "write-protected"}, {"ro", "0", ""},
		{"holders/dm-0", "", "in use (dm-0)"},
	} {
		write(t, filepath.Join(at, c.file), c.is)
		_, err := d.rescueTarget(os.DevNull)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %q: %v, want %q", c.file, c.is, err, c.want)
		}
	}
}
