package kmod

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"micromirror/packages/kmod/kmodtest"
)

const release = "6.12.1-test"

// tree writes a folder of modules as a kernel package brings it: a and b depend
// on each other in a chain, in each of the compressions, c stands alone.
func tree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "lib/modules", release)
	for path, m := range map[string]kmodtest.Module{
		"kernel/drivers/net/top-one.ko.xz": {
			Modinfo: []string{"depends=middle,base", "alias=pci:v000010ECd00008168sv*sd*bc*sc*i*", "alias=net-pf-16-proto-4", "softdep=pre: alone absent post: base"},
			Wanted:  []string{"middle_fn", "base_fn"},
		},
		"kernel/lib/middle.ko.zst": {Modinfo: []string{"depends=base,in-kernel"}, Exports: []string{"middle_fn"}, Wanted: []string{"base_fn"}},
		"kernel/lib/base.ko":       {Modinfo: []string{"depends=", "alias=crypto-base[0-9]-x"}, Exports: []string{"base_fn"}},
		"kernel/fs/alone.ko":       {Modinfo: []string{"depends=", "alias=fs-alone"}},
		"kernel/fs/unwanted.ko":    {Modinfo: []string{"depends="}},
	} {
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, pack(t, path, m.ELF()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "modules.builtin"), []byte("kernel/lib/in-kernel.ko\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func pack(t *testing.T, path string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	switch filepath.Ext(path) {
	case ".xz":
		w, err := xz.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(b)
		w.Close()
	case ".zst":
		w, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(b)
		w.Close()
	default:
		return b
	}
	return out.Bytes()
}

func closure(t *testing.T, dir string, names ...string) (*Tree, []Module) {
	t.Helper()
	tr, err := OpenTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	mods, err := tr.Closure(t.Context(), names)
	if err != nil {
		t.Fatal(err)
	}
	return tr, mods
}

func TestClosureBringsAllThatIsNeeded(t *testing.T) {
	_, mods := closure(t, tree(t), "top_one", "in_kernel")
	var got []string
	for _, m := range mods {
		got = append(got, m.Path)
	}
	want := []string{"kernel/drivers/net/top-one.ko.xz", "kernel/fs/alone.ko", "kernel/lib/base.ko", "kernel/lib/middle.ko.zst"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("closure (-want +got):\n%s", d)
	}
}

func TestClosureNamesWhatIsMissing(t *testing.T) {
	dir := tree(t)
	tr, err := OpenTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Closure(t.Context(), []string{"base", "nosuch", "neither-this"}); err == nil || !strings.Contains(err.Error(), "nosuch, neither_this") {
		t.Errorf("error %v, want both unknown names", err)
	}
	if err := os.Remove(filepath.Join(dir, "kernel/lib/base.ko")); err != nil {
		t.Fatal(err)
	}
	if tr, err = OpenTree(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Closure(t.Context(), []string{"top_one"}); err == nil || !strings.Contains(err.Error(), "base") {
		t.Errorf("error %v, want the missing dependency", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tr.Closure(ctx, []string{"alone"}); err == nil {
		t.Error("a cancelled closure succeeded")
	}
}

// TestIndexAgreesWithDepmod holds our index against the one of kmod's depmod,
// which finds dependencies by symbols, not by what the module says.
func TestIndexAgreesWithDepmod(t *testing.T) {
	dir := tree(t)
	tr, mods := closure(t, dir, "top_one", "unwanted")
	index, err := tr.Index(mods)
	if err != nil {
		t.Fatal(err)
	}
	root := strings.TrimSuffix(dir, "/lib/modules/"+release)
	cmd := exec.Command("depmod", "-b", root, release)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if p, err := exec.LookPath("/usr/sbin/depmod"); err == nil {
		cmd.Path, cmd.Err = p, nil
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("depmod (package kmod): %v: %s", err, out)
	}
	for _, name := range []string{"modules.dep", "modules.alias", "modules.softdep"} {
		theirs, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(indexLines(string(theirs)), indexLines(string(index[name]))); d != "" {
			t.Errorf("%s (-depmod +ours):\n%s", name, d)
		}
	}
}

// indexLines makes two indexes comparable: depmod writes its own order and a
// comment, and keeps a line for each softdep.
func indexLines(s string) []string {
	var lines []string
	for line := range strings.Lines(s) {
		if w := strings.Fields(line); len(w) > 0 && w[0] != "#" {
			lines = append(lines, strings.Join(w, " "))
		}
	}
	slices.Sort(lines)
	return lines
}

func TestIndexRefusesMissingDependency(t *testing.T) {
	mods := []Module{{Name: "a", Path: "a.ko", Depends: []string{"b"}}}
	if _, err := Index(mods, func(string) bool { return false }); err == nil || !strings.Contains(err.Error(), "dependency b") {
		t.Errorf("error %v, want one naming b", err)
	}
}

func TestReadRefusesDamage(t *testing.T) {
	dir := tree(t)
	tr, err := OpenTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"kernel/drivers/net/top-one.ko.xz", "kernel/lib/middle.ko.zst"} {
		if err := os.Truncate(filepath.Join(dir, path), 40); err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Read(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("truncated %s: error %v, want one that names it", path, err)
		}
	}
	if _, err := tr.Read("kernel/nosuch.ko"); err == nil {
		t.Error("a missing module was read")
	}
}
