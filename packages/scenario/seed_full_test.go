//go:build vm && full

package scenario

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"micromirror/packages/demo"
	"micromirror/packages/desk"
	"micromirror/packages/vm"
)

// A disk that begins with mirror trees: the kernel takes the file system that was
// made without it, it grows to the disk's end, and the first sync fetches what has
// changed upstream since the trees were copied, and no more.
func TestSeededDisk(t *testing.T) {
	t.Parallel()
	dir, up := upstream(t, 64<<20)
	trees := filepath.Join(t.TempDir(), "trees")
	if err := demo.Clone(t.Context(), dir, trees); err != nil {
		t.Fatal(err)
	}
	if _, err := demo.Update(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	fleet, image := t.TempDir(), filepath.Join(t.TempDir(), "node.img")
	release, err := Shipped.Dir()
	if err != nil {
		t.Fatal(err)
	}
	o := ImageOptions{Upstream: "10.0.2.2:" + strconv.Itoa(up.Port())}
	if err := writeFleet(fleet, filepath.Join(release, "..", "..", "images", "demo"), o); err != nil {
		t.Fatal(err)
	}
	err = desk.Image(t.Context(), desk.ImageOptions{Fleet: desk.Fleet(fleet), Node: "demo", Release: release, Size: 6 << 30, Out: image,
		Seed: filepath.Dir(demo.Tree(trees, demo.Debian))})
	if err != nil {
		t.Fatal(err)
	}
	m := vm.Start(t, vm.Config{Image: image, Timeout: orderLimit})
	m.Wait(`mm initrd: /perm /dev/\w+ is clean`)
	for range demo.Modules() { // in whatever order they come
		said := m.Wait(`mm syncd: (demo-\w+): (?:published .*fetched_bytes=(\d+)|up to date)`)
		fetched, _ := strconv.ParseInt(said.Groups[2], 10, 64) // none when it is up to date
		switch most := int64(1 << 20); {
		case said.Groups[1] == demo.Debian && (fetched == 0 || fetched > most):
			t.Errorf("%s: %d bytes were fetched, want what has changed", said.Groups[1], fetched)
		case said.Groups[1] != demo.Debian && fetched > 0:
			t.Errorf("%s: %d bytes were fetched, nothing has changed", said.Groups[1], fetched)
		}
	}
	for _, module := range demo.Modules() {
		m.Get("/" + module + "/") // a seeded tree is served once a run has found it whole
		differences, err := demo.DiffHTTP(t.Context(), demo.Tree(dir, module), m.URL("/"+module+"/"))
		report(t, differences, err)
	}
	useApt(t, m, dir)
	const grown = "mm updated: /perm has grown to its partition"
	if !slices.ContainsFunc(m.Console(), func(l vm.Line) bool { return strings.Contains(l.Text, grown) }) {
		t.Errorf("the console does not say %q", grown)
	}
	m.Shutdown()
}
