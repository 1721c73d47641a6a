//go:build vm

package scenario

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"micromirror/packages/demo"
	"micromirror/packages/demo/client"
	"micromirror/packages/vm"
)

// upstream starts a demo upstream of the test's own, a copy of the built one with
// a large file of the given size, so that a test may change it.
func upstream(t *testing.T, largeSize int64) (dir string, s *demo.Server) {
	t.Helper()
	build, err := vm.BuildDir()
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(build, "demo")
	if err := demo.Build(t.Context(), base, nil); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "upstream")
	if err := demo.Clone(t.Context(), base, dir); err != nil {
		t.Fatal(err)
	}
	if largeSize < demo.LargeSize {
		shrink(t, filepath.Join(demo.Tree(dir, demo.Files), demo.LargeFile), largeSize)
	}
	s, err = demo.Serve(t.Context(), dir, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return dir, s
}

// shrink replaces a file, which may be shared with another tree, by its beginning.
func shrink(t *testing.T, path string, size int64) {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	content := make([]byte, size)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.ReadAt(content, 0)
	f.Close()
	for _, step := range []func() error{
		func() error { return err },
		func() error { return os.Remove(path) },
		func() error { return os.WriteFile(path, content, st.Mode().Perm()) },
		func() error { return os.Chtimes(path, st.ModTime(), st.ModTime()) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

// nodeOf writes the image of a node that mirrors the upstream.
func nodeOf(t *testing.T, s *demo.Server, kind Kind) string {
	t.Helper()
	build, err := vm.BuildDir()
	if err != nil {
		t.Fatal(err)
	}
	work, err := os.MkdirTemp(build, "scenario-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(work) })
	out := filepath.Join(work, "node.img")
	if err := Image(t.Context(), out, ImageOptions{Kind: kind, Upstream: fmt.Sprintf("10.0.2.2:%d", s.Port())}); err != nil {
		t.Fatal(err)
	}
	return out
}

// The whole job, with the image that ships, on a CPU like the T620's: sync three
// projects from a real rsync daemon and serve them to real clients, then look at
// the disk from outside.
func TestServesRealClients(t *testing.T) {
	t.Parallel()
	dir, up := upstream(t, largeFile)
	m := vm.Start(t, vm.Config{Image: nodeOf(t, up, Shipped), MissingCPU: vm.NotOnJaguar()})
	m.Wait(`mm httpd: serving on`)
	for range demo.Modules() { // in whatever order they come
		m.Wait(`mm syncd: demo-\w+: published`)
	}
	if page := m.Get("/"); !bytes.Contains(page, []byte("This computer")) {
		t.Errorf("the front page does not name the sponsor:\n%s", page)
	}
	m.Get("/healthz")
	t.Run("apt", func(t *testing.T) { useApt(t, m, dir) })
	t.Run("dnf", func(t *testing.T) { useDnf(t, m) })
	t.Run("rsync", func(t *testing.T) { useRsync(t, m, dir) })
	for _, module := range demo.Modules() {
		t.Run("http "+module, func(t *testing.T) {
			differences, err := demo.DiffHTTP(t.Context(), demo.Tree(dir, module), m.URL("/"+module+"/"))
			report(t, differences, err)
		})
	}
	m.Shutdown()
	t.Run("disk", func(t *testing.T) { lookAtDisk(t, m.Disk(), dir) })
}

func report(t *testing.T, differences []string, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences {
		t.Error(d)
	}
}

// must runs a client's step and shows what it said when it fails.
func must(t *testing.T, said string, err error) string {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return said
}

func useApt(t *testing.T, m *vm.VM, dir string) {
	source := fmt.Sprintf("deb [signed-by=%s] %s %s main", demo.PublicKey(dir), m.URL("/"+demo.Debian), demo.Suite)
	apt, err := client.NewApt(t.TempDir(), source)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"update"}, {"download", "hello"}, {"install", "--yes", demo.OwnPackage}} {
		said, err := apt.Run(t.Context(), "apt-get", args...)
		must(t, said, err)
	}
	got, err := filepath.Glob(filepath.Join(apt.Root, "hello_*.deb"))
	if err != nil || len(got) != 1 {
		t.Errorf("apt-get download left %v, %v; want one package", got, err)
	}
	status, err := os.ReadFile(filepath.Join(apt.Root, "var/lib/dpkg/status"))
	if err != nil || !strings.Contains(string(status), "Package: "+demo.OwnPackage) {
		t.Errorf("%s is not installed: %v", demo.OwnPackage, err)
	}
}

func useDnf(t *testing.T, m *vm.VM) {
	dnf, err := client.NewDnf(t.TempDir(), m.URL("/"+demo.RPM), "RPM-GPG-KEY-demo")
	if err != nil {
		t.Fatal(err)
	}
	said, err := dnf.Run(t.Context(), "makecache")
	must(t, said, err)
	files, err := dnf.Download(t.Context(), demo.RPMPackages()...)
	if err != nil || len(files) != len(demo.RPMPackages()) {
		t.Errorf("dnf download: %v, %v; want %v", files, err, demo.RPMPackages())
	}
}

// useRsync mirrors the node onwards with the real rsync and compares.
func useRsync(t *testing.T, m *vm.VM, dir string) {
	to := t.TempDir()
	for _, module := range demo.Modules() {
		got := filepath.Join(to, module)
		out, err := exec.CommandContext(t.Context(), "rsync", "-aH", "--timeout=60", "rsync://"+m.Addr(873)+"/"+module+"/", got).CombinedOutput()
		must(t, string(out), err)
		want, have := scan(t, demo.Tree(dir, module)), scan(t, got)
		maps.DeleteFunc(want, func(_ string, e demo.Entry) bool { return hidden(e) })
		report(t, demo.Diff(want, have, func(string) bool { return false }), nil)
	}
}

// hidden says whether an entry is not for the public, and so not listed by rsync.
func hidden(e demo.Entry) bool { return e.Mode&fs.ModeSymlink == 0 && e.Mode.Perm()&0o004 == 0 }

// lookAtDisk compares the mirrored trees on the node's disk with upstream, also
// what is not for the public, and checks the file system. Copying out of the disk
// makes copies of hard links; those are compared over rsync.
func lookAtDisk(t *testing.T, d vm.Disk, dir string) {
	if said, err := d.CheckPerm(); err != nil {
		t.Errorf("e2fsck: %v\n%s", err, said)
	}
	to := t.TempDir()
	if err := d.ExtractPerm("/mirror", to); err != nil {
		t.Fatal(err)
	}
	for _, module := range demo.Modules() {
		want, have := scan(t, demo.Tree(dir, module)), scan(t, filepath.Join(to, "mirror", module))
		for _, tree := range []demo.Manifest{want, have} {
			for name, e := range tree {
				e.Group = ""
				tree[name] = e
			}
		}
		report(t, demo.Diff(want, have, func(string) bool { return false }), nil)
	}
}

func scan(t *testing.T, dir string) demo.Manifest {
	t.Helper()
	m, err := demo.Scan(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
