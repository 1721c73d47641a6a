package desk

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fleet is a fleet folder with one good node and one bad.
func fleet(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "fleet.json"), `{"domain": "mirror.example", "contact": "noc@mirror.example", "upstream": "mirror.example"}`)
	good := `{"name": "one", "hardware": "qemu", "sponsor": {"name": "S", "url": "https://s.example/"}, "addresses": ["dhcp"], "projects": ["gimp"]}`
	write(t, filepath.Join(dir, "nodes", "one.json"), good)
	write(t, filepath.Join(dir, "nodes", "two.json"), strings.Replace(good, "gimp", "gimpp", 1))
	return dir
}

func run(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	c := Command()
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(&bytes.Buffer{})
	err = c.ExecuteContext(t.Context())
	return out.String(), err
}

func TestCheckNamesEveryMistake(t *testing.T) {
	dir := fleet(t)
	out, err := run(t, "check", "--fleet", dir)
	if err == nil {
		t.Error("a fleet with mistakes is good")
	}
	for _, want := range []string{"one: good", "two.json", "projects[0]", "gimpp"} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
	if _, err := run(t, "check", "--fleet", dir, "one"); err != nil {
		t.Errorf("checking the good node: %v", err)
	}
}

func TestCheckJSON(t *testing.T) {
	out, err := run(t, "check", "--fleet", fleet(t), "--json")
	if err == nil {
		t.Error("exit code is 0 with mistakes")
	}
	var got []nodeReport
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if len(got) != 2 || got[0].Error != "" || got[1].Error == "" {
		t.Errorf("reports = %+v", got)
	}
}

func TestNameOfFileAndNode(t *testing.T) {
	dir := fleet(t)
	if err := os.Rename(filepath.Join(dir, "nodes", "one.json"), filepath.Join(dir, "nodes", "three.json")); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, "check", "--fleet", dir, "three")
	if err == nil || !strings.Contains(out, `is "one"`) {
		t.Errorf("error = %v, output %s; want both names", err, out)
	}
}

func TestImageRefusesBeforeWriting(t *testing.T) {
	dir := fleet(t)
	out := filepath.Join(t.TempDir(), "x.img")
	for name, args := range map[string][]string{
		"bad node":     {"--node", "two"},
		"no such node": {"--node", "nine"},
		"no release":   {"--node", "one", "--release", t.TempDir()},
		"bad size":     {"--node", "one", "--size", "8 GB"},
	} {
		if _, err := run(t, append([]string{"image", "--fleet", dir, "--out", out}, args...)...); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := os.Stat(out); !os.IsNotExist(err) {
			t.Errorf("%s: image exists: %v", name, err)
		}
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{"512": 512, "8G": 8 << 30, "2T": 2 << 40, "1K": 1 << 10, "3M": 3 << 20} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "G", "-1", "0", "8GB", "8 G", "9999999T", "G8"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", in, got)
		}
	}
}
