//go:build vm

package scenario

import (
	"fmt"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"micromirror/packages/release"
	"micromirror/packages/slot"
	"micromirror/packages/vm"
)

// hasty is what tests want of a node: it asks for updates often and believes in a
// new release sooner.
const hasty = "mm.fault=update-hurry,brief-proof"

// patience with each step of an update: a busy computer needs minutes to start a
// node, and again to read a slot back.
const patience = 15 * time.Minute

// field is a node with a desk that publishes for it.
type field struct {
	t      *testing.T
	office *Office
	dir    string
	first  string // version that the node is born with
	m      *vm.VM
}

// newField starts a node that runs variant 0 of the release with fault points.
func newField(t *testing.T) *field {
	t.Helper()
	return newFieldOf(t, 0, hasty, "")
}

// newFieldOf does so with another variant, other words on the kernel command line,
// and an upstream as ImageOptions has it.
func newFieldOf(t *testing.T, n int, options, upstream string) *field {
	t.Helper()
	f := &field{t: t, dir: t.TempDir()}
	var err error
	if f.office, err = OpenOffice(t.Context(), filepath.Join(f.dir, "fleet")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.office.Close() })
	born, version := f.variant(n, options, nil)
	f.first = version
	image := filepath.Join(f.dir, "node.img")
	if err := Image(t.Context(), image, ImageOptions{Kind: Faults, Release: born, Office: f.office, Upstream: upstream}); err != nil {
		t.Fatal(err)
	}
	f.m = vm.Start(t, vm.Config{Image: image, Timeout: patience})
	return f
}

// variant makes a release whose kernel command line has further words.
func (f *field) variant(n int, options string, edit func(dir string, r *release.Release) error) (dir, version string) {
	f.t.Helper()
	from, err := Faults.Dir()
	if err != nil {
		f.t.Fatal(err)
	}
	dir = filepath.Join(f.dir, fmt.Sprintf("release-%d", n))
	err = Variant(from, dir, n, func(dir string, r *release.Release) error {
		r.Options += " " + options
		if edit != nil {
			return edit(dir, r)
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	rel, err := release.Read(dir)
	if err != nil {
		f.t.Fatal(err)
	}
	return dir, rel.Version
}

// offer publishes a variant for the node.
func (f *field) offer(dir string, emergency bool) {
	f.t.Helper()
	if err := f.office.Offer(f.t.Context(), dir, emergency); err != nil {
		f.t.Fatal(err)
	}
}

// takes waits until the node runs a release and believes in it.
func (f *field) takes(version string, in slot.Name) {
	f.t.Helper()
	f.m.Wait(`mm updated: installed ` + regexp.QuoteMeta(version) + ` in slot ` + string(in))
	f.m.Wait(`mm updated: rebooting into ` + regexp.QuoteMeta(version))
	if got := f.m.WaitBoot(); got != string(in) {
		f.t.Fatalf("slot %s was started, want %s", got, in)
	}
	f.m.Wait(`mm updated: release ` + regexp.QuoteMeta(version) + ` is good`)
}

// A node takes a release over the air; one that is never healthy rolls back by
// itself.
func TestUpdatesOverTheAir(t *testing.T) {
	t.Parallel()
	f := newField(t)
	good, version := f.variant(1, hasty, nil)
	f.offer(good, false)
	f.m.Wait(`mm updated: slot a healthy, re-armed`)
	f.takes(version, slot.B)
	f.rollsBack(2, slot.B, version)
}

// rollsBack offers the n-th variant, which is never healthy, to a node that runs a
// version in a slot, and stays there.
func (f *field) rollsBack(n int, to slot.Name, version string) {
	f.t.Helper()
	bad, badVersion := f.variant(n, hasty+",never-bless", nil)
	f.offer(bad, false)
	f.m.Wait(`mm updated: rebooting into ` + regexp.QuoteMeta(badVersion))
	if others := f.m.WaitSlot(string(to)); others != slot.TrialTries {
		f.t.Errorf("the bad release was started %d times, want %d", others, slot.TrialTries)
	}
	f.m.Wait(`mm updated: release ` + regexp.QuoteMeta(badVersion) + ` failed: .*ordered by a test.*, staying on ` + regexp.QuoteMeta(version))
	f.m.Wait(`mm updated: slot ` + string(to) + ` healthy`)
}
