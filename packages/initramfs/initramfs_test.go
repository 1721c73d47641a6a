package initramfs

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/u-root/u-root/pkg/cpio"
	"github.com/ulikunitz/xz"

	"micromirror/packages/kmod/kmodtest"
)

func module(modinfo ...string) []byte { return kmodtest.Module{Modinfo: modinfo}.ELF() }

func compressed(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// spec is a kernel folder with two modules, one needing the other, and a third.
func spec(t *testing.T) Spec {
	t.Helper()
	dir := t.TempDir()
	mods := filepath.Join(dir, "lib/modules/6.12-test")
	for name, b := range map[string][]byte{
		"init": []byte("#!init"), "e2fsck": []byte("#!e2fsck"), "perm": []byte("template"),
		"lib/modules/6.12-test/kernel/disk-a.ko.xz": compressed(t, module("depends=b", "alias=pci:v1*")),
		"lib/modules/6.12-test/kernel/b.ko":         module("depends="),
		"lib/modules/6.12-test/kernel/c.ko":         module("depends="),
		"lib/modules/6.12-test/modules.builtin":     []byte("kernel/in.ko\n"),
	} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o600)
		if bytes.HasPrefix(b, []byte("#!")) {
			mode = 0o700
		}
		if err := os.WriteFile(p, b, mode); err != nil {
			t.Fatal(err)
		}
	}
	return Spec{
		Out: filepath.Join(dir, "initrd"), ModuleDir: mods, Modules: []string{"disk_a", "in"},
		Init:  filepath.Join(dir, "init"),
		Files: map[string]string{"/e2fsck": filepath.Join(dir, "e2fsck"), "/perm.ext4.zst": filepath.Join(dir, "perm")},
	}
}

// unpack lists an initramfs: "mode name content".
func unpack(t *testing.T, path string) (list []string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	raw, err := d.DecodeAll(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := cpio.Newc.Reader(bytes.NewReader(raw))
	for {
		rec, err := r.ReadRecord()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		line := os.FileMode(rec.Mode & 0o777).String()[1:] + " " + rec.Name
		if rec.FileSize > 0 && rec.FileSize < 50 {
			content := make([]byte, rec.FileSize)
			if _, err := rec.ReadAt(content, 0); err != nil && err != io.EOF {
				t.Fatal(err)
			}
			line += " " + string(content)
		}
		list = append(list, line)
	}
}

func TestBuild(t *testing.T) {
	s := spec(t)
	r, err := Build(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"rwxr-xr-x dev", "rwxr-xr-x lib", "rwxr-xr-x lib/modules", "rwxr-xr-x lib/modules/6.12-test", "rwxr-xr-x lib/modules/6.12-test/kernel",
		"rwxr-xr-x proc", "rwxr-xr-x sys", "rw------- dev/console", "rw-rw-rw- dev/null",
		"rwxr-xr-x e2fsck #!e2fsck", "rwxr-xr-x init #!init",
		"rw-r--r-- lib/modules/6.12-test/kernel/b.ko", "rw-r--r-- lib/modules/6.12-test/kernel/disk-a.ko",
		"rw-r--r-- lib/modules/6.12-test/modules.alias alias pci:v1* disk_a\n",
		"rw-r--r-- lib/modules/6.12-test/modules.builtin kernel/in.ko\n",
		"rw-r--r-- lib/modules/6.12-test/modules.dep", "rw-r--r-- lib/modules/6.12-test/modules.softdep",
		"rw-r--r-- perm.ext4.zst template",
	}
	got := unpack(t, s.Out)
	for i, line := range got {
		if name, content, ok := strings.Cut(line, "modules.dep "); ok && content == "kernel/b.ko:\nkernel/disk-a.ko: kernel/b.ko\n" {
			got[i] = name + "modules.dep"
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("content (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"b", "disk_a"}, r.Modules); d != "" {
		t.Errorf("modules (-want +got):\n%s", d)
	}
	if st, err := os.Stat(s.Out); err != nil || st.Size() != r.Size || r.Raw < r.Size {
		t.Errorf("size %d raw %d, file %v, %v", r.Size, r.Raw, st, err)
	}
}

// What the kernel takes early lies in front, uncompressed, each content at a
// multiple of 16 bytes, and the rest is as it is without.
func TestEarlyFilesComeFirst(t *testing.T) {
	s := spec(t)
	if _, err := Build(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	without, err := os.ReadFile(s.Out)
	if err != nil {
		t.Fatal(err)
	}
	s.Early = map[string][]byte{
		"kernel/x86/microcode/GenuineIntel.bin": bytes.Repeat([]byte("intel"), 3),
		"kernel/x86/microcode/AuthenticAMD.bin": bytes.Repeat([]byte("amd"), 7),
	}
	if _, err := Build(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	with, err := os.ReadFile(s.Out)
	if err != nil {
		t.Fatal(err)
	}
	front, ok := bytes.CutSuffix(with, without)
	if !ok || len(front)%4 != 0 {
		t.Fatalf("%d bytes do not end in the %d without", len(with), len(without))
	}
	var got []string
	r := cpio.Newc.Reader(bytes.NewReader(front))
	for {
		rec, err := r.ReadRecord()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.TrimRight(rec.Name, "\x00"))
	}
	want := []string{"kernel", "kernel/x86", "kernel/x86/microcode", "kernel/x86/microcode/AuthenticAMD.bin", "kernel/x86/microcode/GenuineIntel.bin"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("names (-want +got):\n%s", d)
	}
	for name, content := range s.Early {
		if at := bytes.Index(front, content); at < 0 || at%16 != 0 {
			t.Errorf("%s begins at %d", name, at)
		}
	}
}

func TestBuildIsReproducible(t *testing.T) {
	var first []byte
	for range 3 {
		s := spec(t)
		if _, err := Build(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(s.Out)
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && !bytes.Equal(first, b) {
			t.Error("the same input gave other bytes")
		}
		first = b
	}
}

func TestBuildRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Spec)
		err    string
	}{
		"unknown module": {func(s *Spec) { s.Modules = append(s.Modules, "nosuch") }, "nosuch"},
		"no init":        {func(s *Spec) { s.Init += ".not" }, "init"},
		"no e2fsck":      {func(s *Spec) { s.Files["/e2fsck"] += ".not" }, "e2fsck"},
		"no kernel":      {func(s *Spec) { s.ModuleDir += ".not" }, "kernel modules"},
	} {
		s := spec(t)
		if err := os.WriteFile(s.Out, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		c.change(&s)
		if _, err := Build(t.Context(), s); err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: error %v, want %q", name, err, c.err)
		}
		if b, _ := os.ReadFile(s.Out); string(b) != "old" {
			t.Errorf("%s: the old file is gone", name)
		}
	}
}
