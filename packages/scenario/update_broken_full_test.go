//go:build vm && full

package scenario

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"micromirror/packages/release"
	"micromirror/packages/slot"
	"micromirror/packages/update"
)

// badRelease is a release that must not stay. One that is refused is never
// installed.
type badRelease struct {
	name    string
	options string                                     // of its kernel command line, such as fault points
	edit    func(dir string, r *release.Release) error // before its hash tree is made
	spoil   func(dir string, r *release.Release) error // after that
	says    string                                     // on the console while it runs
	why     string                                     // what the node says of it afterwards
	refused bool
}

// unasked is how a program ends that a fault point ends.
const unasked = `ended without being asked to`

// never is what the node says of a release that ended without a word to it.
const never = "it did not come up"

// brokenReleases are some that come over the air.
var brokenReleases = []badRelease{
	{name: "other hardware", refused: true, why: `is for other hardware than "qemu": \[toaster\]`,
		edit: func(_ string, r *release.Release) error { r.Hardware = []string{"toaster"}; return nil }},
	{name: "root that its hash tree does not fit", spoil: flipRoot, why: never, says: `verity: .*corrupted`},
	{name: "web server ends", options: "mm.fault=httpd-ends,short-trial", says: `mm httpd: stopped .*` + unasked, why: `.*http-ipv4: `},
}

// flipRoot changes one bit of what the hash tree covers.
func flipRoot(dir string, _ *release.Release) error {
	f, err := os.OpenFile(filepath.Join(dir, release.RootFile), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, 40); err != nil {
		return err
	}
	b[0] ^= 1
	_, err = f.WriteAt(b, 40)
	return err
}

// A node leaves releases that are bad in one way or another by itself, one after
// the other, says why, and remembers them.
func TestBadReleasesOverTheAir(t *testing.T) {
	t.Parallel()
	newField(t).survives(brokenReleases)
}

// survives offers bad releases to a node, which must end on its own each time.
func (f *field) survives(list []badRelease) {
	f.t.Helper()
	f.m.Wait(`mm updated: slot a healthy, re-armed`)
	failed := []string{}
	for i, b := range list {
		n := i + 1
		dir, version := f.variant(n, b.options, b.edit)
		if b.spoil != nil {
			f.spoil(dir, b.spoil)
		}
		f.offer(dir, false)
		if b.refused {
			f.m.Wait(`mm updated: update: .*` + regexp.QuoteMeta(version) + ` ` + b.why)
			continue
		}
		f.leaves(b, version)
		failed = append(failed, version)
	}
	f.m.Shutdown() // what is read below does not look into the journal
	f.remembers(failed)
}

// spoil changes the files of a release behind the back of its hash tree.
func (f *field) spoil(dir string, do func(string, *release.Release) error) {
	f.t.Helper()
	r, err := release.Read(dir)
	if err == nil {
		err = do(dir, r)
	}
	if err == nil {
		err = release.Write(dir, *r)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// leaves waits until the node is back from a bad release. It gets the last of its
// tries only, to save time: TestUpdatesOverTheAir gives all.
func (f *field) leaves(b badRelease, version string) {
	f.t.Helper()
	f.m.Wait(`mm updated: installed ` + regexp.QuoteMeta(version) + ` in slot b`)
	f.m.PowerCut()
	editEntry(f.t, f.m, slot.B, func(e slot.Entry) slot.Entry { return e.WithTries(1) })
	f.m.PowerOn()
	if got := f.m.WaitBoot(); got != "b" {
		f.t.Fatalf("%s: slot %s was started, want b", b.name, got)
	}
	if b.says != "" {
		f.m.Wait(b.says)
	}
	if others := f.m.WaitSlot("a"); others != 0 {
		f.t.Errorf("%s: the bad release was started %d times more than it had tries", b.name, others)
	}
	f.m.Wait(`mm updated: release ` + regexp.QuoteMeta(version) + ` failed: ` + b.why + `.*, staying on ` + regexp.QuoteMeta(f.first))
	f.m.Wait(`mm updated: slot a healthy`)
	f.m.Get("/")
}

// remembers looks at the state on a disk that is off: these releases failed, each
// once, and none was tried again while the later ones came.
func (f *field) remembers(versions []string) {
	f.t.Helper()
	for _, v := range versions {
		if n := said(f.m, "mm updated: installed "+v+" "); n != 1 {
			f.t.Errorf("release %s was installed %d times, want once", v, n)
		}
	}
	var got []string
	for _, bad := range f.saved().Bad {
		got = append(got, bad.Version)
	}
	if !slices.Equal(got, versions) {
		f.t.Errorf("the node remembers the failures of %v, want %v", got, versions)
	}
}

// saved is what the node's updater remembers.
func (f *field) saved() update.Saved {
	f.t.Helper()
	dir := f.t.TempDir()
	if err := f.m.Disk().ExtractPerm("/state/updated", dir); err != nil {
		f.t.Fatal(err)
	}
	file := filepath.Join(dir, "updated", "update.json")
	s, err := update.Load(file)
	if err == nil {
		_, err = os.Stat(file) // without it there is nothing to remember
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}
