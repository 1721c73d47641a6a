package desk

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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
