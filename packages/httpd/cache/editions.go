package cache

import (
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"micromirror/packages/mirror/edition"
)

// followEditions watches the folder of editions, where there is one, and takes
// over those that are out.
func (c *Cache) followEditions() {
	wd, err := unix.InotifyAddWatch(c.notify, filepath.Join(c.root, edition.Folder),
		unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVED_FROM|unix.IN_MOVED_TO|unix.IN_ONLYDIR|unix.IN_DONT_FOLLOW)
	if err == nil {
		c.press = int32(wd)
	}
	c.loadEditions()
}

// loadEditions takes over the editions that are out and drops what those that
// came or went have changed. The lock is held, or nobody has the cache yet.
func (c *Cache) loadEditions() {
	before := c.tree.Editions()
	now := edition.Load(filepath.Join(c.root, edition.Folder))
	c.tree.SetEditions(now)
	for _, prefix := range slices.Concat(before.Prefixes(), now.Prefixes()) {
		for name, d := range c.dirs {
			if name == prefix || strings.HasPrefix(name, prefix+"/") {
				d.changes++
				c.dropAll(d)
			}
		}
	}
}

// covered reports whether an edition may hold what an item depends on.
func (c *Cache) covered(deps []counted) bool {
	out := c.tree.Editions()
	return !out.Empty() && slices.ContainsFunc(deps, func(d counted) bool { return out.Covers(d.dir.path) })
}
