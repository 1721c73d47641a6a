// Package plan works out what makes a served tree equal to upstream's list, and
// holds it in a file that is at once the border between the process that talks
// to upstream and the one that publishes, and the journal of a publish.
//
// Promise: Make compares without changing anything; the order that Write gives
// keeps every index behind the files that it came with (see Order). Read hands
// out only operations whose paths are clean, from a file whose end mark and
// checksum are right; everything else is an error before the first operation.
//
// Order of a plan: directories, content (mode changes, files, hard links,
// symbolic links), index files likewise, top index files likewise, deletions
// (top index first), times and modes of directories. Two marks enclose the index
// files of both kinds: they become valid together. Entries that vanished
// upstream stay for a grace period and are carried as tombstones.
//
// Memory: one byte per entry of the list, four per member of a hard link group,
// and the paths of what is to be deleted.
package plan

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"micromirror/packages/mirror/tree"
	"micromirror/packages/project"
	"micromirror/packages/rsync/flist"
)

// Input is what a plan is made from.
type Input struct {
	List *flist.List
	Tree *tree.Root
	// Phase says when an entry is published.
	Phase func(name string) project.Phase
	// Escapes says which symbolic links are left out.
	Escapes func(name, target string) bool
	// Own names entries of the tree that are the node's, not upstream's.
	Own func(name string) bool
	// Gone holds the entries that earlier runs found to have vanished, and when.
	Gone map[string]time.Time
	// Distrust names files of the tree whose content is not to be believed.
	Distrust []string
	// Now and Grace decide which of them are deleted.
	Now   time.Time
	Grace time.Duration
}

// Plan is the difference between a list and a tree.
type Plan struct {
	in     Input
	action []action
	// Fetch lists the entries whose content is needed, in the order in which they
	// should be fetched: small ones first.
	Fetch []int
	// Drop holds what is deleted now, Gone what is kept for now.
	Drop []string
	Gone map[string]time.Time
	// Replaced names content of the tree that gives way to something else,
	// ReplacedIndexes the index files that do.
	Replaced, ReplacedIndexes []string
	// Counts sum up both sides.
	Counts Counts

	dir    int // list index of the directory being compared, -1 outside the list
	groups map[int][]member
}

// Counts describe a plan.
type Counts struct {
	ListFiles, ListBytes   int64 // upstream, as far as mirrored
	LocalFiles             int64 // before
	NewGone                int64 // local entries that vanish with this list
	FetchFiles, FetchBytes int64
	Skipped                int64 // special files and links that lead out
	Changes                int64 // operations, times of directories not counted
	Inodes                 int64 // files, directories and links to make
}

// action is what happens to one entry of the list.
type action uint8

const (
	keep action = iota
	skip
	mkdir
	fetch  // place from the stage
	hard   // link to another member of the group
	symlnk // make the symbolic link
	chmod
	stamp // set the time of a symbolic link
	kind  = action(0x0f)

	phaseShift        = 4
	phaseMask         = action(0x30)
	conflict   action = 0x40 // something of another type is in the way
	touched    action = 0x80 // a directory whose time and mode are to be set
)

// Make compares the list with the tree.
func Make(in Input) (*Plan, error) {
	p := &Plan{in: in, action: make([]action, in.List.Len()), Gone: map[string]time.Time{}, groups: map[int][]member{}, dir: -1}
	var local []tree.Entry
	for i := range in.List.Len() {
		if !in.List.Active(i) {
			p.action[i] = skip
			continue
		}
		if in.List.Mode(i)&flist.ModeType != flist.ModeDir {
			continue
		}
		var err error
		if local, err = p.directory(i, local[:0]); err != nil {
			return nil, err
		}
	}
	p.settleGroups()
	p.sortFetch()
	return p, nil
}

// directory compares the directory at list index i and its files.
func (p *Plan) directory(i int, local []tree.Entry) ([]tree.Entry, error) {
	name := p.in.List.Name(i)
	if err := p.directoryItself(i, name); err != nil {
		return local, err
	}
	if p.action[i]&kind != mkdir {
		var err error
		if local, err = p.in.Tree.List(name, local); err != nil {
			return local, fmt.Errorf("compare: %w", err)
		}
	}
	p.dir = i
	from, to := p.in.List.Files(name)
	rest := local
	for f := from; f < to; f++ {
		if !p.in.List.Active(f) {
			continue
		}
		base := p.in.List.Base(f)
		for len(rest) > 0 && rest[0].Name < base {
			if err := p.extra(name, &rest[0]); err != nil {
				return local, err
			}
			rest = rest[1:]
		}
		var found *tree.Entry
		if len(rest) > 0 && rest[0].Name == base {
			found, rest = &rest[0], rest[1:]
			if err := p.replaced(f, found); err != nil {
				return local, err
			}
		}
		if err := p.entry(f, found); err != nil {
			return local, err
		}
	}
	for n := range rest {
		if err := p.extra(name, &rest[n]); err != nil {
			return local, err
		}
	}
	return local, nil
}

// replaced counts a local entry whose name the list also has. What lies in a
// directory that becomes a file is lost with it.
func (p *Plan) replaced(i int, e *tree.Entry) error {
	if !e.IsDir() {
		p.Counts.LocalFiles++
		return nil
	}
	files, _, err := p.census(p.in.List.Name(i), e)
	p.Counts.LocalFiles += files
	p.Counts.NewGone += files
	return err
}

// directoryItself decides on the directory's own entry.
func (p *Plan) directoryItself(i int, name string) error {
	have, err := p.in.Tree.Stat(name)
	if err != nil && !missing(err) {
		return fmt.Errorf("compare: %w", err)
	}
	sec, nsec := p.in.List.ModTime(i)
	switch {
	case err != nil:
		p.change(i, mkdir|touched)
		p.touchParent(name)
	case !have.IsDir():
		p.replace(name)
		p.change(i, mkdir|touched|conflict)
		p.touchParent(name)
	case DirMode(p.in.List.Mode(i)) != have.Mode&0o7777 || !sameTime(sec, nsec, have):
		p.change(i, touched)
	}
	return nil
}

// entry decides on a file, link or special file; have is nil if there is none.
func (p *Plan) entry(i int, have *tree.Entry) error {
	switch p.in.List.Mode(i) & flist.ModeType {
	case flist.ModeRegular:
		p.Counts.ListFiles++
		p.Counts.ListBytes += p.in.List.Size(i)
		p.regular(i, have)
		return nil
	case flist.ModeSymlink:
		return p.symlink(i, have)
	default:
		p.action[i] = skip
		p.Counts.Skipped++
		return nil
	}
}

func (p *Plan) regular(i int, have *tree.Entry) {
	same := have != nil && have.IsRegular() && have.Size == p.in.List.Size(i)
	if same {
		sec, nsec := p.in.List.ModTime(i)
		same = sameTime(sec, nsec, have.Info) && !slices.Contains(p.in.Distrust, p.in.List.Name(i))
	}
	inTheWay := action(0)
	if have != nil && have.IsDir() {
		inTheWay = conflict
	}
	if have != nil && !same {
		p.replace(p.in.List.Name(i))
	}
	if leader := p.in.List.HardLink(i); leader >= 0 {
		m := member{index: i, conflict: inTheWay}
		if same {
			m.inode, m.mode = have.Inode, have.Mode&0o7777
		}
		p.groups[leader] = append(p.groups[leader], m)
		return
	}
	switch {
	case !same:
		p.need(i, inTheWay)
	case have.Mode&0o7777 != FileMode(p.in.List.Mode(i)):
		p.changeFile(i, chmod)
	}
}

// need notes that the content of i must be fetched.
func (p *Plan) need(i int, flags action) {
	p.changeFile(i, fetch|flags)
	p.Fetch = append(p.Fetch, i)
	p.Counts.FetchFiles++
	p.Counts.FetchBytes += p.in.List.Size(i)
}

func (p *Plan) symlink(i int, have *tree.Entry) error {
	name, target := p.in.List.Name(i), p.in.List.Link(i)
	if p.in.Escapes(name, target) {
		p.action[i] = skip
		p.Counts.Skipped++
		if have != nil {
			return p.extra(p.in.List.Dir(i), have)
		}
		return nil
	}
	p.Counts.ListFiles++
	sec, nsec := p.in.List.ModTime(i)
	switch {
	case have == nil || !have.IsSymlink():
		flags := action(0)
		if have != nil && have.IsDir() {
			flags = conflict
		}
		if have != nil {
			p.replace(name)
		}
		p.changeFile(i, symlnk|flags)
	default:
		old, err := p.in.Tree.Readlink(name)
		if err != nil {
			return fmt.Errorf("compare: %w", err)
		}
		if old != target {
			p.replace(name)
			p.changeFile(i, symlnk)
		} else if !sameTime(sec, nsec, have.Info) {
			p.changeFile(i, stamp)
		}
	}
	return nil
}

// replace notes that something gives way.
func (p *Plan) replace(name string) {
	if p.in.Phase(name) == project.Content {
		p.Replaced = append(p.Replaced, name)
	} else {
		p.ReplacedIndexes = append(p.ReplacedIndexes, name)
	}
}

// changeFile notes an operation on an entry that is not a directory.
func (p *Plan) changeFile(i int, a action) {
	a |= action(p.in.Phase(p.in.List.Name(i))) << phaseShift
	p.change(i, a)
	if a&kind != chmod && a&kind != stamp {
		p.touchParent(p.in.List.Name(i))
	}
}

func (p *Plan) change(i int, a action) {
	p.action[i] |= a
	if a&kind != 0 {
		p.Counts.Changes++
	}
	switch a & kind {
	case mkdir, fetch, symlnk:
		p.Counts.Inodes++
	}
}

// touchParent notes that the directory of name needs its time set again.
func (p *Plan) touchParent(name string) {
	dir := path.Dir(name)
	if i, ok := p.in.List.Find(dir); ok && name != "." {
		p.action[i] |= touched
	}
}

// DirMode and FileMode are the permissions that entries are published with: a
// directory stays usable for its owner, a file is never set-user-ID.
func DirMode(mode uint32) uint32 { return mode&0o3777 | 0o500 }

// FileMode is the permissions of a published file; see DirMode.
func FileMode(mode uint32) uint32 { return mode & 0o777 }

// sameTime compares to the nanosecond where both sides have them: protocols
// before 31 and some file systems know only seconds.
func sameTime(sec int64, nsec uint32, have tree.Info) bool {
	return sec == have.Sec && (nsec == have.Nsec || nsec == 0 || have.Nsec == 0)
}

// Symbolic link escapes that a project's place in the web root allows.
func Escapes(served string, safe bool) func(name, target string) bool {
	up := 0
	if !safe {
		up = strings.Count(served, "/") + 1
	}
	return func(name, target string) bool { return tree.Escapes(name, target, up) }
}

// Overdue leaves of the plan only the deletion of what earlier runs had found gone,
// which no index that is served names any more, and reports whether there is any.
// What is gone since this list is not carried: its indexes are not published.
func (p *Plan) Overdue() bool {
	known := func(name string) bool { _, ok := p.in.Gone[name]; return ok }
	p.Drop = slices.DeleteFunc(p.Drop, func(name string) bool { return !known(name) })
	maps.DeleteFunc(p.Gone, func(name string, _ time.Time) bool { return !known(name) })
	clear(p.action)
	p.Fetch, p.Replaced, p.ReplacedIndexes = nil, nil, nil
	return len(p.Drop) > 0
}

// Unchanged reports whether there is nothing to publish: the tree is as the list
// says, and the tombstones are those of the last run.
func (p *Plan) Unchanged() bool {
	if p.Counts.Changes != 0 || len(p.Gone) != len(p.in.Gone) {
		return false
	}
	for name, since := range p.Gone {
		if !p.in.Gone[name].Equal(since) {
			return false
		}
	}
	return !slices.ContainsFunc(p.action, func(a action) bool { return a&touched != 0 })
}
