package update

import (
	"strings"
	"testing"

	"micromirror/packages/disk"
)

// A rescue puts a release into both slots of a disk whose /perm remembers another
// one. That has not failed: the node goes on from what runs, and has forgotten
// nothing else.
func TestDiskWrittenAnewUnderTheState(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.dead = func(version string) bool { return version == "2026.11.03" }
	b.boot()
	for _, version := range []string{"2026.11.02", "2026.11.03"} {
		f.publish(version)
		b.settle()
	}
	b.runs("2026.11.02")
	before := b.saved()
	b.end()

	for n, rescued := range []string{"2026.11.01", "2026.11.02"} {
		fresh := f.newBox("one", rescued)
		fresh.perm, fresh.dead, fresh.disk = b.perm, b.dead, disk.GUID{2, byte(n)}
		fresh.boot()
		fresh.settle()
		fresh.runs(rescued)
		s := fresh.saved()
		if s.Sequence != before.Sequence || len(s.Bad) != 1 || s.Bad[0].Version != "2026.11.03" || s.State != Idle {
			t.Errorf("rescued with %s: state %+v, before %+v", rescued, s, before)
		}
		if strings.Contains(fresh.console.String(), "failed") {
			t.Errorf("rescued with %s:\n%s", rescued, fresh.console.String())
		}
		fresh.end()
		b = fresh
	}
	f.publish("2026.11.04")
	b.boot()
	b.settle()
	b.runs("2026.11.04")
	if s := b.saved(); s.State != Good || s.Disk != b.disk.String() {
		t.Errorf("state %+v", s)
	}
}
