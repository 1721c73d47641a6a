package factory

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"micromirror/packages/release"
	"micromirror/packages/verity"
)

// tree is a repository in a folder, with the files that git would list.
func tree(t *testing.T) *build {
	t.Helper()
	b := &build{Options: Options{Repository: t.TempDir(), Log: io.Discard}, version: "1"}
	if out, err := exec.CommandContext(t.Context(), "git", "init", "-q", b.Repository).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"go.sum", "packages/a/a.go", "packages/a/a_test.go", "README.md", "images/demo/fleet.json", "with space.go"} {
		put(t, b, name, "content")
	}
	put(t, b, ".gitignore", "/build/\n")
	return b
}

func put(t *testing.T, b *build, name, content string) {
	t.Helper()
	path := filepath.Join(b.Repository, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func TestSourcesChange(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*testing.T, *build)
		want   bool
	}{
		{"nothing", func(*testing.T, *build) {}, false},
		{"program", func(t *testing.T, b *build) { put(t, b, "packages/a/a.go", "other") }, true},
		{"module", func(t *testing.T, b *build) { put(t, b, "go.sum", "other") }, true},
		{"space in the name", func(t *testing.T, b *build) { put(t, b, "with space.go", "other") }, true},
		{"new file", func(t *testing.T, b *build) { put(t, b, "packages/a/b.go", "") }, true},
		{"removed file", func(t *testing.T, b *build) { os.Remove(filepath.Join(b.Repository, "packages/a/a.go")) }, true},
		{"executable", func(t *testing.T, b *build) { os.Chmod(filepath.Join(b.Repository, "packages/a/a.go"), 0o755) }, true},
		{"version", func(_ *testing.T, b *build) { b.version = "2" }, true},
		{"tags", func(_ *testing.T, b *build) { b.Tags = []string{"faults"} }, true},
		{"firmware", func(_ *testing.T, b *build) { b.Firmware = NonFree }, true},
		{"test", func(t *testing.T, b *build) { put(t, b, "packages/a/a_test.go", "other") }, false},
		{"text", func(t *testing.T, b *build) { put(t, b, "README.md", "other") }, false},
		{"demo fleet", func(t *testing.T, b *build) { put(t, b, "images/demo/fleet.json", "other") }, false},
		{"build", func(t *testing.T, b *build) { put(t, b, "build/x.go", "") }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := tree(t)
			before, err := b.sources(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c.change(t, b)
			after, err := b.sources(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if changed := before != after; changed != c.want {
				t.Errorf("changed = %v, want %v", changed, c.want)
			}
		})
	}
}

func TestUpToDate(t *testing.T) {
	whole := release.Release{
		Version: "1", Options: kernelOptions, Hardware: []string{"qemu"}, Built: time.Unix(1e9, 0), Loader: release.Loader{Version: "262"},
		Root: release.Root{Verity: verity.Tree{RootHash: strings.Repeat("0", 64), DataBlocks: 1}},
	}
	for _, c := range []struct {
		name   string
		change func(*testing.T, *build)
		want   bool
	}{
		{"sealed", func(*testing.T, *build) {}, true},
		{"unsealed", func(t *testing.T, b *build) { os.Remove(filepath.Join(b.Out(), InputsFile)) }, false},
		{"damaged", func(t *testing.T, b *build) { put(t, b, "build/release/initrd", "damage") }, false},
		{"unfinished", func(t *testing.T, b *build) { os.Remove(filepath.Join(b.Out(), release.FileName)) }, false},
		{"other packages", func(t *testing.T, b *build) { put(t, b, "build/debian/pool/packages.json", "[]") }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := tree(t)
			for _, name := range []string{release.KernelFile, release.InitrdFile, release.RootFile, release.LoaderFile, release.PermFile} {
				put(t, b, "build/release/"+name, name)
			}
			if err := errors.Join(release.Write(b.Out(), whole), b.seal("sources")); err != nil {
				t.Fatal(err)
			}
			c.change(t, b)
			got, err := b.upToDate(t.Context(), "sources")
			if err != nil || got != c.want {
				t.Errorf("up to date = %v, %v; want %v", got, err, c.want)
			}
			if other, err := b.upToDate(t.Context(), "other sources"); err != nil || other {
				t.Errorf("other sources: up to date = %v, %v", other, err)
			}
		})
	}
}
