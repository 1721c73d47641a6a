package cache

import (
	"os"
	"path/filepath"
	"testing"

	"micromirror/packages/httpd/tree"
	"micromirror/packages/mirror/edition"
)

// TestEditionComesOutInOneStep keeps two files of a project and a neighbour in the
// cache, brings an edition of the project out, and withdraws it.
func TestEditionComesOutInOneStep(t *testing.T) {
	root := t.TempDir()
	f := &fixture{T: t, root: root}
	f.must(os.MkdirAll(filepath.Join(root, edition.Folder), 0o755))
	f.write("debian/dists/x/Release", "r1")
	f.write("debian/dists/x/Packages", "p1")
	f.write("other/a", "a1")
	f.must(os.Symlink("x", filepath.Join(root, "debian/dists/stable")))
	tr, err := tree.Open(root)
	f.must(err)
	t.Cleanup(func() { tr.Close() })
	f.tree = tr
	f.cache, err = New(tr, root, roomy)
	f.must(err)
	t.Cleanup(func() { f.cache.Close() })
	names := map[string]string{"debian/dists/x/Release": "r", "debian/dists/stable/Packages": "p"}
	for name, c := range names {
		f.expect(name, c+"1", true)
	}
	f.expect("other/a", "a1", true)
	p := edition.Press{Dir: filepath.Join(root, edition.Folder), Path: "debian"}
	d, err := p.Draft()
	f.must(err)
	for name, c := range map[string]string{"Release": "r2", "Packages": "p2"} {
		f.must(d.New.MkdirAll("dists/x", 0o755))
		f.must(os.WriteFile(filepath.Join(d.New.Name(), "dists/x", name), []byte(c), 0o644))
	}
	for name, c := range names {
		f.expect(name, c+"1", false)
	}
	f.must(p.BringOut())
	for range 2 { // what an edition covers is not kept
		for name, c := range names {
			f.expect(name, c+"2", true)
		}
	}
	f.expect("other/a", "a1", false)
	f.write("debian/dists/x/Release", "r2")
	f.expect("debian/dists/stable/Packages", "p2", true)
	f.write("debian/dists/x/Packages", "p2")
	f.must(p.Withdraw())
	d.Close()
	for name, c := range names {
		f.expect(name, c+"2", true)
		f.expect(name, c+"2", false)
	}
	if _, err := f.tree.Lookup(edition.Folder + "/debian@1"); err == nil {
		t.Error("the folder of editions can be seen")
	}
}
