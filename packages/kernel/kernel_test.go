package kernel

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/kmod/kmodtest"
)

const release = "6.12.1+test-amd64"

// debFolder looks like an unpacked kernel package.
func debFolder(t *testing.T, prefix string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "linux")
	for name, text := range map[string]string{
		"boot/vmlinuz-" + release:                                      "kernel",
		prefix + "lib/modules/" + release + "/kernel/a.ko":             module("depends=b", "alias=pci:v1*"),
		prefix + "lib/modules/" + release + "/kernel/b.ko":             module("depends="),
		prefix + "lib/modules/" + release + "/kernel/c.ko":             module("depends="),
		prefix + "lib/modules/" + release + "/modules.builtin":         "kernel/in.ko\n",
		prefix + "lib/modules/" + release + "/modules.builtin.modinfo": "",
		"../" + filepath.Base(dir) + ".sha256":                         "one\n",
		"usr/share/doc/linux-image/copyright":                          "x",
	} {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func module(modinfo ...string) string { return string(kmodtest.Module{Modinfo: modinfo}.ELF()) }

func filled(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, p)
			files = append(files, strings.ReplaceAll(rel, release, "R"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestFillTakesOnlyWhatIsNeeded(t *testing.T) {
	for _, prefix := range []string{"usr/", ""} { // Debian 13 and 12
		dst := t.TempDir()
		write(t, filepath.Join(dst, "lib/modules/5.10-old/x.ko"), "left over")
		write(t, filepath.Join(dst, "kernel.go"), "package kernel")
		k, err := Fill(t.Context(), dst, debFolder(t, prefix), []string{"a", "in"})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			"kernel.go", "lib/kernel.json", "lib/modules/R/kernel/a.ko", "lib/modules/R/kernel/b.ko",
			"lib/modules/R/modules.alias", "lib/modules/R/modules.builtin", "lib/modules/R/modules.dep", "lib/modules/R/modules.softdep", "vmlinuz",
		}
		if d := cmp.Diff(want, filled(t, dst)); d != "" {
			t.Errorf("files (-want +got):\n%s", d)
		}
		again, err := Open(dst)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(k, again); d != "" {
			t.Errorf("record (-filled +read):\n%s", d)
		}
		b, err := os.ReadFile(filepath.Join(k.ModuleDir(), "modules.dep"))
		if err != nil || string(b) != "kernel/a.ko: kernel/b.ko\nkernel/b.ko:\n" {
			t.Errorf("modules.dep: %q, %v", b, err)
		}
	}
}

func TestFillAgainDoesNothing(t *testing.T) {
	dst, deb := t.TempDir(), debFolder(t, "usr/")
	fill := func(modules ...string) {
		t.Helper()
		if _, err := Fill(t.Context(), dst, deb, modules); err != nil {
			t.Fatal(err)
		}
	}
	fill("a", "c")
	mark := filepath.Join(dst, "vmlinuz")
	write(t, mark, "untouched")
	fill("c", "a", "a")
	if b, _ := os.ReadFile(mark); string(b) != "untouched" {
		t.Error("the same fill was done twice")
	}
	fill("a")
	if b, _ := os.ReadFile(mark); string(b) != "kernel" {
		t.Error("other modules did not cause a fill")
	}
	write(t, deb+".sha256", "two\n")
	write(t, mark, "old")
	fill("a")
	if b, _ := os.ReadFile(mark); string(b) != "kernel" {
		t.Error("another package did not cause a fill")
	}
}

func TestFillRefuses(t *testing.T) {
	deb := debFolder(t, "usr/")
	if _, err := Fill(t.Context(), t.TempDir(), t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "exactly one") {
		t.Errorf("an empty package: %v", err)
	}
	dst := t.TempDir()
	if _, err := Fill(t.Context(), dst, deb, []string{"nosuch"}); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("an unknown module: %v", err)
	}
	if err := os.Remove(filepath.Join(deb, "boot/vmlinuz-"+release)); err != nil {
		t.Fatal(err)
	}
	if _, err := Fill(t.Context(), dst, deb, []string{"a"}); err == nil {
		t.Error("a package without kernel was taken")
	}
	if _, err := Open(dst); err == nil || slices.Contains(filled(t, dst), "lib/kernel.json") {
		t.Errorf("half a fill has a record: %v", err)
	}
}
