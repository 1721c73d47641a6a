//go:build vm && full

package scenario

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"micromirror/packages/demo"
	"micromirror/packages/node"
	"micromirror/packages/release"
	"micromirror/packages/slot"
	"micromirror/packages/verity"
	"micromirror/packages/vm"
)

// Three releases up, the third four times as large as today's, and down to the
// first again by a signed emergency: what the node mirrors is served all along, and
// what makes it this node stays as it was.
func TestLongWay(t *testing.T) {
	t.Parallel()
	dir, up := upstream(t, 1<<20) // what is large travels by releases
	f := newFieldOf(t, 0, hasty, fmt.Sprintf("10.0.2.2:%d", up.Port()))
	for range len(demo.Modules()) + 1 { // in any order
		f.m.Wait(`mm syncd: demo-\w+: published|mm updated: slot a healthy, re-armed`)
	}
	key := bornWith(t, vm.Disk{Path: filepath.Join(f.dir, "node.img")})[node.KeyFile]
	for i, way := range []struct {
		edit func(string, *release.Release) error
		in   slot.Name
	}{{nil, slot.B}, {nil, slot.A}, {fourfold, slot.B}} {
		next, version := f.variant(i+1, hasty, way.edit)
		f.offer(next, false)
		f.takes(version, way.in)
		f.mirrors(dir)
	}
	f.offer(filepath.Join(f.dir, "release-0"), true)
	f.takes(f.first, slot.A)
	f.mirrors(dir)
	f.m.Shutdown()
	if len(key) == 0 {
		t.Error("the node was flashed without a key")
	}
	f.has(node.KeyFile, key)
	if s := f.saved(); s.Version != f.first || len(s.Bad) != 0 || s.Generation != 6 {
		t.Errorf("the node remembers %+v, want release %s as generation 6, four after the one it was born with, and no failure", s, f.first)
	}
}

// fourfold makes a release four times as large, by noise behind its root file
// system, which the hash tree covers, too.
func fourfold(dir string, r *release.Release) error {
	f, err := os.OpenFile(filepath.Join(dir, release.RootFile), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	noise := make([]byte, 3*(r.Kernel.Size+r.Initrd.Size+r.Root.Size)&^(verity.BlockSize-1))
	rand.NewChaCha8([32]byte{}).Read(noise) // never fails
	_, err = f.Write(noise)
	return err
}

// mirrors compares an archive with upstream's.
func (f *field) mirrors(dir string) {
	f.t.Helper()
	differences, err := demo.DiffHTTP(f.t.Context(), demo.Tree(dir, demo.Debian), f.m.URL("/"+demo.Debian+"/"))
	report(f.t, differences, err)
}
