// Package cache keeps what requests are answered with for as long as it is true.
//
// An Item is an open file with its header lines (small ones with their content)
// or a rendered listing. The cache knows which directory entries each item
// depends on, symbolic links included, and watches those directories with
// inotify: a change drops exactly the items that it could alter. There is no
// time to live. Whoever serves from the cache calls Sync first whenever FD is
// readable; an item is then never older than the last change made before the
// request came in.
//
// Items, bytes in memory and watched directories are bounded. What cannot be
// watched (the kernel's limit on watches, an unreadable directory) is answered
// and not kept. If the kernel drops notifications, everything is dropped.
//
// When an edition comes out (package mirror/edition), all items of its project
// are dropped in the same step, before any of its files is in the tree. While it
// is out, what it covers is answered and not kept.
//
// What the listing of a large directory has found out is kept beyond the listing,
// see Known, and outlives changes of single files.
//
// An item that is in use stays valid, and so does its file: a response that has
// begun is completed from the version that it began with.
package cache

import (
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/httpd/tree"
)

// Item is one answer. It is immutable once made.
type Item struct {
	Missing    bool // there is no such file; nothing else is set
	Name       string
	File       *tree.File // nil for a listing
	Header     []byte     // the lines of a 200, Date and Connection excepted
	Validators []byte     // the lines that 304 and 206 share
	Body       []byte     // the whole body, nil if it is to be sent from File
	Length     int64
	Type       string // content type
	ETag       string
	Modified   string // ModTime as the header has it
	ModTime    time.Time
	Entries    []tree.Entry // what a listing shows, until Fill has it

	// Warm is for the one who sends: the Unix second until which the file is
	// taken to be in memory.
	Warm atomic.Int64

	refs atomic.Int32 // beyond the first
	deps []dep        // under Cache.mu
	key  string       // under Cache.mu

	knows *knowledge // nil for whatever is an answer
}

// dep is an entry that an item depends on; an empty name stands for all of them.
type dep struct {
	dir  *dir
	name string
}

// dir is a watched directory.
type dir struct {
	path    string
	wd      int32
	changes uint64 // notifications so far
	items   map[string]map[*Item]struct{}
	users   int // deps and fills under way
	known   *Item
}

// Limits bound a cache.
type Limits struct {
	Items int   // open files and listings
	Bytes int64 // bodies in memory
	Dirs  int   // watched directories
}

// Cache holds items by key. Its methods may be called from any goroutine.
type Cache struct {
	tree   *tree.Tree
	root   string // the web root's path
	limits Limits
	notify int   // inotify
	press  int32 // the watch of the folder of editions, -1 if there is none

	worthKnowing int // entries; see known.go

	seed  maphash.Seed
	asked [1024]atomic.Uint64 // hashes of missing names

	mu      sync.RWMutex
	items   map[string]*Item
	bytes   int64
	missing ring
	known   []*Item
	dirs    map[string]*dir
	wds     map[int32]*dir
	buf     []byte
}

// New makes an empty cache for the tree at root.
func New(t *tree.Tree, root string, limits Limits) (*Cache, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make cache: inotify: %w", err)
	}
	c := &Cache{
		tree: t, root: root, limits: limits, notify: fd, press: -1,
		items: map[string]*Item{}, dirs: map[string]*dir{}, wds: map[int32]*dir{},
		buf: make([]byte, 64<<10), seed: maphash.MakeSeed(), worthKnowing: worthKnowing,
	}
	c.followEditions()
	return c, nil
}

// FD is readable while changes wait for Sync.
func (c *Cache) FD() int { return c.notify }

// Close drops everything.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear()
	return unix.Close(c.notify)
}

// Get returns the item under key, or nil. The caller releases it.
func (c *Cache) Get(key []byte) *Item {
	c.mu.RLock()
	item := c.items[string(key)]
	if item != nil {
		item.refs.Add(1)
	}
	c.mu.RUnlock()
	return item
}

// Retain makes one more Release necessary.
func (i *Item) Retain() { i.refs.Add(1) }

// Release gives an item back.
func (i *Item) Release() {
	if i.refs.Add(-1) < 0 && i.File != nil {
		i.File.Close()
	}
}

// Need is something that an item depends on: what Name means and, with Whole,
// every entry of the directory that it is. With Missing the name may mean
// nothing.
type Need struct {
	Name           string
	Whole, Missing bool
}

// maxNeeds bounds the further needs of one item; a listing with more
// subdirectories and links is made anew each time.
const maxNeeds = 512

// Fill makes the item for need and keeps it under key if that is safe. build may
// name further needs that it only finds while it works; it is then called again
// when these are watched too. The caller releases the item.
func (c *Cache) Fill(key string, need Need, build func() (*Item, []Need, error)) (*Item, error) {
	deps, ok := c.watch([]Need{need})
	defer func() { c.unwatch(deps) }()
	own := len(deps)
	item, more, err := build()
	if err != nil || !ok || len(more) > maxNeeds {
		return forgetful(item), err
	}
	if len(more) > 0 {
		item.Release()
		extra, ok := c.watch(more)
		deps = append(deps, extra...)
		var again []Need
		if item, again, err = build(); err != nil || !ok || !slices.Equal(more, again) {
			return forgetful(item), err
		}
	}
	known := c.learnt(item)
	c.Sync()
	c.mu.Lock()
	defer c.mu.Unlock()
	if unchanged(deps) && !c.covered(deps) {
		c.remember(need, deps[:own], known)
		c.keep(key, item, deps)
	}
	return item, nil
}

// forgetful is the item without what it would be remembered by.
func forgetful(item *Item) *Item {
	if item != nil {
		item.Entries = nil
	}
	return item
}

// keep puts an item into the cache. The lock is held.
func (c *Cache) keep(key string, item *Item, deps []counted) {
	size := int64(len(item.Body))
	if size > c.limits.Bytes/4 {
		return
	}
	if old := c.items[key]; old != nil {
		c.drop(key, old)
	}
	c.makeRoom(size)
	if item.Missing {
		c.missing.put(c, key)
	}
	item.refs.Add(1)
	item.key = key
	c.items[key] = item
	c.bytes += size
	c.depend(item, deps)
}

// depend makes the item go when what it depends on changes.
func (c *Cache) depend(item *Item, deps []counted) {
	for _, d := range deps {
		item.deps = append(item.deps, d.dep)
		d.dir.users++
		set := d.dir.items[d.name]
		if set == nil {
			set = map[*Item]struct{}{}
			d.dir.items[d.name] = set
		}
		set[item] = struct{}{}
	}
}

// makeRoom drops items, chosen by the map's own disorder, until another fits.
func (c *Cache) makeRoom(bytes int64) {
	for key, item := range c.items {
		if len(c.items) < c.limits.Items && c.bytes+bytes <= c.limits.Bytes {
			return
		}
		c.drop(key, item)
	}
}

// drop removes an item.
func (c *Cache) drop(key string, item *Item) {
	if c.items[key] != item {
		return
	}
	delete(c.items, key)
	c.bytes -= int64(len(item.Body))
	for _, d := range item.deps {
		set := d.dir.items[d.name]
		delete(set, item)
		if len(set) == 0 {
			delete(d.dir.items, d.name)
		}
		c.leave(d.dir)
	}
	item.deps = nil
	c.forgetKnown(item)
	item.Release()
}

// clear drops all items.
func (c *Cache) clear() {
	for key, item := range c.items {
		c.drop(key, item)
	}
}

// leave ends one use of a directory and its watch with the last one.
func (c *Cache) leave(d *dir) {
	if d.users--; d.users == 0 {
		c.forget(d)
		// A watch that the kernel has removed already is no error here.
		_, _ = unix.InotifyRmWatch(c.notify, uint32(d.wd))
	}
}

// forget takes a directory out of the books; deps that still name it stay as
// they are until their items go.
func (c *Cache) forget(d *dir) {
	if c.dirs[d.path] == d {
		delete(c.dirs, d.path)
	}
	if c.wds[d.wd] == d {
		delete(c.wds, d.wd)
	}
}

// Len returns the number of items, for metrics.
func (c *Cache) Len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.items)
}

// counted is a dep with the number of notifications its directory had when the
// fill began.
type counted struct {
	dep
	changes uint64
}

func unchanged(deps []counted) bool {
	return !slices.ContainsFunc(deps, func(d counted) bool { return d.dir.changes != d.changes })
}
