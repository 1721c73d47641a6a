package desk

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"micromirror/packages/flash"
	"micromirror/packages/stick"
)

func TestStickCommand(t *testing.T) {
	o := newOffice(t)
	folder := t.TempDir()
	o.refused([]string{"nodes/one.json is not published as it is", "config publish"}, "stick", "one", "--out", folder)
	o.ok("config", "publish")
	if out := o.ok("stick", "one", "--out", folder); !strings.Contains(out, filepath.Join(folder, "micromirror-one.tar")) {
		t.Errorf("output = %s", out)
	}
	b, err := os.ReadFile(filepath.Join(folder, "micromirror-one.tar"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := stick.Unpack(b)
	if err != nil {
		t.Fatal(err)
	}
	var of []string
	for name, content := range files {
		if strings.HasPrefix(name, "targets/") {
			of = append(of, string(content))
		}
	}
	want, err := os.ReadFile(filepath.Join(o.fleet, "nodes", "one.json"))
	if err != nil || len(of) != 1 || of[0] != string(want) {
		t.Errorf("files on the stick: %q, %v", of, err)
	}

	o.node("one", "hp-t620")
	o.refused([]string{"is not published as it is"}, "stick", "one", "--out", folder)
	o.ok("config", "publish")
	o.refused([]string{"is no folder"}, "stick", "one", "--out", filepath.Join(folder, "missing"))
	o.refused([]string{"nodes/six.json"}, "stick", "six", "--out", folder)
}

// A whole stick is written only if it is one, nothing uses it, and somebody said
// the node's name.
func TestStickIsWrittenAnew(t *testing.T) {
	o := newOffice(t)
	dir := t.TempDir()
	device := filepath.Join(dir, "sdx")
	if err := os.WriteFile(device, make([]byte, 64<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, "sys/class/block/sdx")
	for name, text := range map[string]string{"size": "131072\n", "removable": "1\n", "ro": "0\n", "device/model": "Ultra\n"} {
		write(t, filepath.Join(at, name), text)
	}
	write(t, filepath.Join(dir, "proc/self/mountinfo"), "")
	write(t, filepath.Join(dir, "proc/swaps"), "")
	try := func(yes string) error {
		d := o.desk()
		d.machine = flash.Machine{Sys: filepath.Join(dir, "sys"), Proc: filepath.Join(dir, "proc")}
		c := &cobra.Command{}
		c.SetErr(&o.stderr)
		c.Flags().String("yes", "", "")
		if err := c.Flags().Set("yes", yes); err != nil {
			t.Fatal(err)
		}
		return d.writeStick(c, "one", device, yes, []byte("signed"))
	}
	written := func() bool {
		b, err := os.ReadFile(device)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(b, []byte("signed"))
	}
	if err := try("two"); err == nil || !strings.Contains(err.Error(), "nothing was done") || written() {
		t.Errorf("another name: %v, written %v", err, written())
	}
	for file, c := range map[string]struct{ is, was, want string }{
		"removable":    {"0", "1", "a disk that stays (Ultra)"},
		"ro":           {"1", "0", "write-protected"},
		"holders/dm-0": {"", "", "in use (dm-0)"},
	} {
		write(t, filepath.Join(at, file), c.is)
		if err := try("one"); err == nil || !strings.Contains(err.Error(), c.want) || written() {
			t.Errorf("%s: %v, written %v", file, err, written())
		}
		if c.was != "" {
			write(t, filepath.Join(at, file), c.was)
		} else if err := os.RemoveAll(filepath.Join(at, filepath.Dir(file))); err != nil {
			t.Fatal(err)
		}
	}
	if err := try("one"); err != nil || !written() {
		t.Fatalf("%v, written %v", err, written())
	}
	if !strings.Contains(o.stderr.String(), "Everything on it will be lost") {
		t.Errorf("told: %s", &o.stderr)
	}
}
