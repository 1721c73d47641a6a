package desk

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/crypto/ssh"

	"micromirror/packages/disk"
	"micromirror/packages/manage"
	"micromirror/packages/node"
	"micromirror/packages/seed"
)

// flashing is a fleet with a release at hand, and the arguments that write one of
// its nodes to a file.
func flashing(t *testing.T) (o *office, disk string, args func(node string, more ...string) []string) {
	t.Helper()
	o = flagged(t)
	release := bootable(t, testRelease(t, "1", o.clock))
	disk = filepath.Join(t.TempDir(), "disk.img")
	return o, disk, func(node string, more ...string) []string {
		return append([]string{"flash", "--node", node, "--disk", disk, "--release", release, "--size", "4G", "--any-size"}, more...)
	}
}

func TestFlash(t *testing.T) {
	o, disk, args := flashing(t)
	o.typed = []string{"abq"}
	said := o.ok(args("abq")...)
	if !strings.Contains(o.stderr.String(), "Everything on it will be lost") || !strings.Contains(o.stderr.String(), "verify") {
		t.Errorf("progress:\n%s", o.stderr.String())
	}
	if info, err := os.Stat(disk); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file with the node's key: %v, %v", info.Mode(), err)
	}
	first := keyOn(t, disk)
	host, err := manage.HostKey(first)
	if err != nil {
		t.Fatal(err)
	}
	key := ssh.FingerprintSHA256(host.PublicKey())
	if list := o.ok("node", "list", "--json"); !strings.Contains(said, key) || !strings.Contains(list, key) {
		t.Errorf("%s is not in the answer\n%s\nor in the list\n%s", key, said, list)
	}
	o.ok(args("abq", "--yes", "abq", "--keep-identity")...)
	if d := cmp.Diff(first, keyOn(t, disk)); d != "" {
		t.Errorf("the kept key is another one (-want +got):\n%s", d)
	}
	tableless(t, disk) // as one that was cut off leaves it
	o.ok(args("abq", "--yes", "abq", "--keep-identity")...)
	if d := cmp.Diff(first, keyOn(t, disk)); d != "" {
		t.Errorf("the key kept from a disk without a table is another one (-want +got):\n%s", d)
	}
	o.ok(args("abq", "--yes", "abq")...)
	if keyOn(t, disk) == first {
		t.Error("a disk written anew has the old key")
	}
	o.ok(addArgs("two", "192.0.2.11/24")...)
	o.refused([]string{`is the disk of node "abq"`}, args("two", "--yes", "two", "--keep-identity")...)
}

func keyOn(t *testing.T, disk string) string {
	t.Helper()
	set, err := identityOn(disk)
	if err != nil {
		t.Fatal(err)
	}
	if set[node.RootFile] == nil {
		t.Error("the disk has no root metadata")
	}
	return string(set[node.KeyFile])
}

// tableless takes both partition tables from a disk.
func tableless(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := disk.Size(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, size - 64<<10} {
		if _, err := f.WriteAt(make([]byte, 64<<10), at); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := disk.Read(f, size); err == nil {
		t.Fatal("the table is still there")
	}
}

func TestFlashRefuses(t *testing.T) {
	o, disk, args := flashing(t)
	for name, c := range map[string]struct{ words, args []string }{
		"other name":   {[]string{"nothing was done"}, args("abq", "--yes", "abc")},
		"nobody asked": {[]string{"--yes abq"}, args("abq")},
		"no such node": {[]string{"nine.json"}, args("nine", "--yes", "nine")},
		"no size":      {[]string{"--size"}, args("abq", "--size", "")},
		"small":        {[]string{"too small"}, args("abq", "--size", "1G")},
		"full":         {[]string{"do not fit", "--any-size"}, args("abq", "--any-size=false")},
		"nothing kept": {[]string{"--keep-identity", "without it"}, args("abq", "--keep-identity")},
		"not a disk":   {[]string{"not a disk"}, args("abq", "--disk", os.DevNull)},
	} {
		t.Run(name, func(t *testing.T) {
			o.t = t
			o.refused(c.words, c.args...)
			if exists(t, disk) {
				t.Error("it was written")
			}
		})
	}
}

func TestNoFreshPublicKeyIfNothingWasWritten(t *testing.T) {
	o, disk, args := flashing(t)
	o.ok(args("abq", "--yes", "abq")...)
	before, err := os.ReadFile(Fleet(o.fleet).PublicKeyFile("abq"))
	if err != nil {
		t.Fatal(err)
	}
	o.refused([]string{"release"}, args("abq", "--yes", "abq", "--release", t.TempDir())...)
	if after, err := os.ReadFile(Fleet(o.fleet).PublicKeyFile("abq")); err != nil || string(after) != string(before) {
		t.Errorf("the key of the disk that is in the box was replaced: %v", err)
	}
	if keyOn(t, disk) == "" {
		t.Error("the old image is gone")
	}
}

// A disk that begins with trees: all of it is read back, and the answer says what
// it begins with.
func TestFlashSeeded(t *testing.T) {
	o, out, args := flashing(t)
	web := t.TempDir()
	write(t, filepath.Join(web, "gimp", "stable", "gimp.tar"), strings.Repeat("gimp", 1000))
	answer := o.ok(args("abq", "--yes", "abq", "--seed", web, "--json")...)
	var got struct{ Seeded []seed.Part }
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		t.Fatal(err)
	}
	want := []seed.Part{{Project: "gimp", Files: 1, Bytes: 4000}}
	if d := cmp.Diff(want, got.Seeded, cmpopts.IgnoreUnexported(seed.Part{})); d != "" {
		t.Errorf("seeded (-want +got):\n%s", d)
	}
	if said := o.stderr.String(); !strings.Contains(said, "It begins with gimp: 1 files, 4.0 kB.") || !strings.Contains(said, "left") {
		t.Errorf("progress:\n%s", said)
	}
	if content(t, out, "/mirror/gimp/stable/gimp.tar") != strings.Repeat("gimp", 1000) {
		t.Error("the tree is not on the disk")
	}
	image := filepath.Join(t.TempDir(), "abq.img")
	o.ok("image", "--node", "abq", "--out", image, "--size", "4G", "--release", args("abq")[6], "--seed", web)
	if content(t, image, "/mirror/gimp/stable/gimp.tar") != strings.Repeat("gimp", 1000) {
		t.Error("the tree is not in the image")
	}

	write(t, filepath.Join(web, "kernel", "x"), "x")
	o.refused([]string{"kernel: not in the node's file", "has gimp"}, args("abq", "--yes", "abq", "--seed", web)...)
	large := filepath.Join(t.TempDir(), "gimp", "large")
	write(t, large, "")
	if err := os.Truncate(large, 2<<30); err != nil {
		t.Fatal(err)
	}
	o.refused([]string{"--seed", "does not fit the disk", "larger disk"}, args("abq", "--yes", "abq", "--seed", filepath.Dir(filepath.Dir(large)))...)
	if content(t, out, "/mirror/gimp/stable/gimp.tar") == "" {
		t.Error("what was refused has touched the disk")
	}
}

// content reads a file of a disk's /perm.
func content(t *testing.T, path, name string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := disk.Read(f, 4<<30)
	if err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("%s?offset=%d", path, table.Part(disk.Perm).Offset())
	out, err := exec.CommandContext(t.Context(), "/usr/sbin/debugfs", "-R", "cat "+name, at).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
