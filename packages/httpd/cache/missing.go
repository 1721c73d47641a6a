package cache

import "hash/maphash"

// Names that are not in the tree are worth remembering, because clients ask for
// the same ones again and again; but there are endlessly many of them, and a scan
// for secrets must not push files out. So they get a fixed share of the cache,
// and only a name that is asked for twice is remembered.

// maxMissing is that share.
const maxMissing = 512

// ring holds the keys of the missing items in the order they came.
type ring struct {
	keys [maxMissing]string
	next int
}

// put makes room for a key by dropping the oldest.
func (r *ring) put(c *Cache, key string) {
	if old := c.items[r.keys[r.next]]; old != nil && old.Missing {
		c.drop(r.keys[r.next], old)
	}
	r.keys[r.next] = key
	r.next = (r.next + 1) % maxMissing
}

// Again says whether a missing name was asked for before, as far as a small
// table of hashes can tell, and notes it.
func (c *Cache) Again(name string) bool {
	h := maphash.String(c.seed, name) | 1
	return c.asked[h%uint64(len(c.asked))].Swap(h) == h
}
