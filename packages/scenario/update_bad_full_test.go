//go:build vm && full

package scenario

import "testing"

// otherBadReleases are bad in many more ways. The disk that the last of "never
// healthy" fills stays full.
var otherBadReleases = map[string][]badRelease{
	"never up": {
		{name: "root that is none", edit: scramble, why: never, says: `mm initrd: .*root`},
		{name: "panicking kernel", options: "mm.fault=initrd-panic", why: never, says: `Kernel panic`},
		{name: "first process ends", options: "mm.fault=initrd-exit", why: never, says: `Kernel panic`},
		{name: "exhausted memory", options: "mm.fault=ntpd-hoards,short-trial", says: `Out of memory`},
	},
	"never watched": {
		{name: "updated ends", options: "mm.fault=updated-ends,quick-watch", why: never, says: unwatched},
		{name: "updated hangs", options: "mm.fault=updated-hangs,quick-watch", why: never, says: unwatched},
	},
	"never healthy": {
		{name: "no network", options: "mm.fault=netd-ends,short-trial", says: `mm netd: stopped .*` + unasked, why: `.*link: `},
		// It proves itself for three minutes, and is ill after one and a half.
		{name: "healthy for a minute", options: "mm.fault=sick-later,short-trial", says: `mm updated: unhealthy: fault: ordered by a test, rebooting`, why: `fault: ordered by a test`},
		{name: "full disk", options: "mm.fault=ntpd-fills,short-trial", says: `mm updated: unhealthy: room: the disk is full: .*, rebooting`, forgets: true},
	},
}

const unwatched = `mm consoled: nobody watches this node's health, rebooting`

// Whatever is bad about a release that comes over the air, the node leaves it.
func TestReleasesBadInOtherWays(t *testing.T) {
	for name, list := range otherBadReleases {
		run(t, name, func(t *testing.T) {
			t.Parallel()
			newField(t).survives(list)
		})
	}
}
