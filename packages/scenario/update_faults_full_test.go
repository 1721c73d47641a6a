//go:build vm && full

package scenario

import (
	"regexp"
	"testing"
)

// At the decisive steps of one update the program is killed, or hangs, once each:
// on the release that installs, and on the one that is installed. The node goes on
// and ends on the new release. It hangs twice only: after a third reboot in a row a
// node rightly waits for an hour before it believes in its slot. The matrix of all
// steps is in package update, which has no kernel, no init and no disk under it.
func TestUpdateOutlivesKillsAndHangs(t *testing.T) {
	t.Parallel()
	const hang = `mm updated: unhealthy: updater: .* does not end, rebooting`
	f := newFieldOf(t, 0, hasty+",update-brief,impatient,update-downloading-kill,update-installing-hang,update-installed-kill,update-rebooting-kill", "")
	dir, version := f.variant(1, hasty+",update-brief,impatient,update-trial-kill,update-good-hang", nil)
	f.offer(dir, false)
	for _, line := range []string{
		`mm updated: slot a healthy, re-armed`,
		ordered("downloading-kill"),
		ordered("installing-hang"), hang,
		`mm updated: slot a healthy, re-armed`,
		ordered("installed-kill"),
		ordered("rebooting-kill"),
		`mm updated: rebooting into ` + regexp.QuoteMeta(version),
		ordered("trial-kill"),
		ordered("good-hang"), hang,
		`mm updated: release ` + regexp.QuoteMeta(version) + ` is good`,
	} {
		f.m.Wait(line)
	}
	f.m.Get("/")
	f.m.Shutdown()
	if s := f.saved(); s.Version != version || len(s.Bad) != 0 {
		t.Errorf("the node remembers %+v, want release %s and no failure", s, version)
	}
}

// ordered is what the node says when a fault of an update happens.
func ordered(fault string) string { return `mm updated: fault ordered: update-` + fault }
