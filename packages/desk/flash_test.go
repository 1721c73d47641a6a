package desk

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/node"
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
	o.ok(args("abq")...)
	if !strings.Contains(o.stderr.String(), "Everything on it will be lost") || !strings.Contains(o.stderr.String(), "verify") {
		t.Errorf("progress:\n%s", o.stderr.String())
	}
	first := keyOn(t, disk)
	o.ok(args("abq", "--yes", "abq", "--keep-identity")...)
	if d := cmp.Diff(first, keyOn(t, disk)); d != "" {
		t.Errorf("the kept key is another one (-want +got):\n%s", d)
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
