package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"micromirror/packages/httpd/tree"
)

// changes is everything that can alter what a name in a directory means or what
// a listing of it shows.
const changes = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_MOVED_FROM |
	unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW

// watch makes sure that every directory that the needs depend on is watched. It
// is not ok if the result must not be kept; the directories are to be given back
// with unwatch all the same.
func (c *Cache) watch(needs []Need) ([]counted, bool) {
	deps, ok := c.trace(needs)
	if !ok {
		return nil, false
	}
	list, ok := c.enter(deps)
	// What changed before the watches were set went unseen; ask again.
	again, traced := c.trace(needs)
	return list, ok && traced && slices.Equal(deps, again)
}

// trace lists what the needs depend on, each entry once.
func (c *Cache) trace(needs []Need) ([]tree.Dep, bool) {
	var deps []tree.Dep
	seen := map[tree.Dep]bool{}
	for _, need := range needs {
		traced, resolved, err := c.tree.Trace(need.Name)
		if err != nil && !(need.Missing && errors.Is(err, tree.ErrNotExist)) {
			return nil, false
		}
		if need.Whole {
			traced = append(traced, tree.Dep{Dir: resolved})
		}
		for _, d := range traced {
			if !seen[d] {
				seen[d] = true
				deps = append(deps, d)
			}
		}
	}
	return deps, true
}

func (c *Cache) enter(deps []tree.Dep) ([]counted, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]counted, 0, len(deps))
	for _, d := range deps {
		dir := c.dirs[d.Dir]
		if dir == nil {
			if dir = c.add(d.Dir); dir == nil {
				return list, false
			}
		}
		dir.users++
		list = append(list, counted{dep{dir, d.Name}, dir.changes})
	}
	return list, true
}

// add starts to watch a directory, nil if that is not possible.
func (c *Cache) add(name string) *dir {
	if len(c.dirs) >= c.limits.Dirs {
		c.clear()
	}
	wd, err := unix.InotifyAddWatch(c.notify, path.Join(c.root, name), changes)
	if errors.Is(err, unix.ENOSPC) {
		c.clear()
		wd, err = unix.InotifyAddWatch(c.notify, path.Join(c.root, name), changes)
	}
	if err != nil || c.wds[int32(wd)] != nil {
		// One directory under two paths is one watch to the kernel: a bind
		// mount or a rename that has not been seen yet.
		return nil
	}
	d := &dir{path: name, wd: int32(wd), items: map[string]map[*Item]struct{}{}}
	c.dirs[name] = d
	c.wds[d.wd] = d
	return d
}

func (c *Cache) unwatch(deps []counted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range deps {
		c.leave(d.dir)
	}
}

// Sync applies the changes that the kernel has reported. It holds the lock from
// before it reads until all are applied, so that whoever finds FD no longer
// readable cannot get an item that a change has made untrue.
func (c *Cache) Sync() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		n, err := unix.Read(c.notify, c.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		for rest := c.buf[:n]; len(rest) >= unix.SizeofInotifyEvent; {
			rest = c.apply(rest)
		}
	}
}

// apply handles the first event in buf and returns the others.
func (c *Cache) apply(buf []byte) []byte {
	wd := int32(binary.NativeEndian.Uint32(buf))
	mask := binary.NativeEndian.Uint32(buf[4:])
	end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[12:]))
	name, _, _ := bytes.Cut(buf[unix.SizeofInotifyEvent:end], []byte{0})
	d := c.wds[wd]
	switch {
	case mask&unix.IN_Q_OVERFLOW != 0:
		c.loadEditions()
		for _, d := range c.dirs {
			d.changes++
		}
		c.clear()
	case wd == c.press:
		c.loadEditions()
	case d == nil:
	case mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_UNMOUNT|unix.IN_IGNORED) != 0:
		c.lose(d)
	case len(name) == 0: // the directory's own attributes
		d.changes++
		c.dropAll(d)
	default:
		d.changes++
		c.dropSet(d.items[string(name)])
		c.dropSet(d.items[""])
		c.outdate(d, string(name))
	}
	return buf[end:]
}

// lose gives up a directory that is no longer where it was.
func (c *Cache) lose(d *dir) {
	d.changes++
	d.users++
	c.dropAll(d)
	c.forget(d)
	c.leave(d)
}

func (c *Cache) dropAll(d *dir) {
	for _, set := range d.items {
		c.dropSet(set)
	}
}

func (c *Cache) dropSet(set map[*Item]struct{}) {
	for item := range set {
		c.drop(item.key, item)
	}
}
