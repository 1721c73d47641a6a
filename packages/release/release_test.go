package release

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/verity"
)

// testDir makes a release directory.
func testDir(t *testing.T) (string, Release) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{KernelFile, InitrdFile, RootFile, LoaderFile, PermFile} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("content of "+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := testRelease()
	if err := Write(dir, r); err != nil {
		t.Fatal(err)
	}
	return dir, r
}

func testRelease() Release {
	return Release{Version: "2026.11.21-0123abc", Built: time.Date(2026, 11, 21, 21, 0, 0, 0, time.UTC),
		Root:     Root{Verity: verity.Tree{RootHash: strings.Repeat("ab", 32), DataBlocks: 9}},
		Loader:   Loader{Version: "262"},
		Hardware: []string{"qemu", "t620"}, Options: "gpt ro console=tty0"}
}

func TestWriteAndVerify(t *testing.T) {
	dir, want := testDir(t)
	got, err := Verify(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range want.named() {
		if *f.file, err = Describe(dir, f.name); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if want.Kernel.Size != 18 {
		t.Errorf("kernel of %d bytes", want.Kernel.Size)
	}
}

func TestKeysOfReleaseJSON(t *testing.T) {
	dir, _ := testDir(t)
	b, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	root := m["root"].(map[string]any)
	for _, key := range []string{"file", "size", "sha256", "verity"} {
		if _, ok := root[key]; !ok {
			t.Errorf("root has no key %s: %v", key, root)
		}
	}
	if got := root["verity"].(map[string]any)["data_blocks"]; got != 9.0 {
		t.Errorf("root.verity.data_blocks = %v", got)
	}
}

func TestVerifyNamesFileAndRemedy(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(dir string) error
		want  string
	}{
		{"file missing", func(dir string) error { return os.Remove(filepath.Join(dir, InitrdFile)) }, "initrd: no such file"},
		{"file shorter", func(dir string) error { return os.Truncate(filepath.Join(dir, RootFile), 3) }, "root.img has 3 bytes, release.json says 19"},
		{"file changed", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, KernelFile), []byte("content of vmlinux"), 0o644)
		}, "vmlinuz does not match its hash"},
		{"no release.json", func(dir string) error { return os.Remove(filepath.Join(dir, FileName)) }, "release.json: no such file"},
		{"no JSON", func(dir string) error { return os.WriteFile(filepath.Join(dir, FileName), []byte("{"), 0o644) }, "release.json: unexpected end"},
		{"empty", func(dir string) error { return os.WriteFile(filepath.Join(dir, FileName), []byte("{}"), 0o644) }, "kernel.sha256"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := testDir(t)
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
			_, err := Verify(t.Context(), dir)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "make image") {
				t.Errorf("error %v, want one with %q and a remedy", err, c.want)
			}
		})
	}
}

func TestVerifyStopsWithItsContext(t *testing.T) {
	dir, _ := testDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Verify(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Release)
		want   string
	}{
		{"version with a line break", func(r *Release) { r.Version = "1\noptions x" }, "version"},
		{"no version", func(r *Release) { r.Version = "" }, "version"},
		{"no verity tree", func(r *Release) { r.Root.Verity = verity.Tree{} }, "root.verity"},
		{"options of two lines", func(r *Release) { r.Options = "ro\nlinux /x" }, "options"},
		{"options name a root", func(r *Release) { r.Options = "ro root=/dev/sda1" }, "root=/dev/sda1"},
		{"options name a tree", func(r *Release) { r.Options = "verity=0 ro" }, "verity=0"},
	} {
		dir, r := testDir(t)
		c.change(&r)
		if err := Write(dir, r); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
	if err := Write(t.TempDir(), testRelease()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no files: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":"1","kernel":{"file":"vmlinuz","size":1},"root":{"verity":{"data_blocks":1}},"new":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err == nil && strings.ContainsAny(r.Version+r.Options, "\n\x00") {
			t.Errorf("accepted %+v", r)
		}
	})
}
