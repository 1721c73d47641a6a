package cache

import (
	"maps"

	"micromirror/packages/httpd/tree"
)

// The listing of a large directory costs a system call for each entry, and is of
// no use as soon as one file has changed. What it found out about all the others
// is kept: it stays true under the same watches. Files that have further names are
// left out, because what is done under those is not seen here; whoever publishes
// replaces files and does not change them, so one that gets a further name later
// stays what it is.

const (
	// worthKnowing is the number of entries from which that pays.
	worthKnowing = 1000
	// maxKnown bounds the directories, maxChanged the changed names of one; then
	// it is better learnt anew.
	maxKnown   = 8
	maxChanged = 1000
)

// knowledge is what is known of a directory. In the cache it is an item that no
// name leads to, so that whatever makes the directory another drops it.
type knowledge struct {
	dir     *dir
	files   *tree.Known
	changed map[string]struct{}
}

// noName is in no directory.
const noName = "/"

// Known returns what is known of the directory now, nil for nothing. Whoever asks
// has the directory open.
func (c *Cache) Known(name string) *tree.Known {
	c.Sync()
	c.mu.RLock()
	defer c.mu.RUnlock()
	d := c.dirs[name]
	if d == nil || d.known == nil {
		return nil
	}
	k := d.known.knows
	return k.files.Except(maps.Clone(k.changed))
}

// learnt is what there is to remember of a listing, nil for nothing.
func (c *Cache) learnt(item *Item) *tree.Known {
	entries := item.Entries
	item.Entries = nil
	if len(entries) < c.worthKnowing {
		return nil
	}
	return tree.Learn(entries)
}

// remember keeps what was learnt of a directory, whose listing depends on deps. The
// lock is held.
func (c *Cache) remember(need Need, deps []counted, k *tree.Known) {
	d := c.dirs[need.Name]
	if k == nil || !need.Whole || d == nil || d.known != nil {
		return
	}
	if len(c.known) >= maxKnown {
		c.drop(c.known[0].key, c.known[0])
	}
	item := &Item{key: need.Name + "/?known", knows: &knowledge{d, k, map[string]struct{}{}}}
	own := make([]counted, 0, len(deps))
	for _, dep := range deps {
		if dep.name == "" {
			dep.name = noName
		}
		own = append(own, dep)
	}
	c.items[item.key] = item
	c.known = append(c.known, item)
	d.known = item
	c.depend(item, own)
}

// forgetKnown is called when an item is dropped.
func (c *Cache) forgetKnown(item *Item) {
	if item.knows == nil {
		return
	}
	item.knows.dir.known = nil
	for i := range c.known {
		if c.known[i] == item {
			c.known = append(c.known[:i], c.known[i+1:]...)
			break
		}
	}
}

// outdate notes that a name in the directory has changed.
func (c *Cache) outdate(d *dir, name string) {
	if d.known == nil {
		return
	}
	k := d.known.knows
	if k.changed[name] = struct{}{}; len(k.changed) > maxChanged {
		c.drop(d.known.key, d.known)
	}
}
