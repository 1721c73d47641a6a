package plan

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"syscall"
	"time"

	"micromirror/packages/mirror/tree"
	"micromirror/packages/project"
	"micromirror/packages/rsync/flist"
)

// member is one name of a hard link group; inode is 0 when the tree does not
// have its content.
type member struct {
	index    int
	inode    uint64
	mode     uint32
	conflict action
}

// settleGroups decides for each group which name's content the others link to:
// one that is there, else the one published first.
func (p *Plan) settleGroups() {
	for leader, members := range p.groups {
		have := slices.IndexFunc(members, func(m member) bool { return m.inode != 0 })
		if have < 0 {
			p.fetchGroup(leader, members)
			continue
		}
		source := members[have]
		for _, m := range members {
			switch {
			case m.inode != source.inode:
				p.changeFile(m.index, hard|m.conflict)
			case m.mode != FileMode(p.in.List.Mode(m.index)):
				p.changeFile(m.index, chmod)
			}
		}
		// The source leads the group when the plan is written.
		members[0], members[have] = members[have], members[0]
	}
}

func (p *Plan) fetchGroup(leader int, members []member) {
	slices.SortStableFunc(members, func(a, b member) int {
		return int(p.in.Phase(p.in.List.Name(a.index))) - int(p.in.Phase(p.in.List.Name(b.index)))
	})
	for n, m := range members {
		if n == 0 {
			p.need(m.index, m.conflict)
		} else {
			p.changeFile(m.index, hard|m.conflict)
		}
	}
	p.groups[leader] = members
}

// source is the name that the hard link i is linked to.
func (p *Plan) source(i int) int { return p.groups[p.in.List.HardLink(i)][0].index }

// Content returns the entry whose content entry i shares: itself, or the member
// of its hard link group that the others are linked to.
func (p *Plan) Content(i int) int {
	if p.action[i]&kind == hard {
		return p.source(i)
	}
	return i
}

// Fetched reports whether entry i is placed from the stage.
func (p *Plan) Fetched(i int) bool { return p.action[i]&kind == fetch }

// Changed reports whether the content of entry i is new.
func (p *Plan) Changed(i int) bool { return p.Fetched(p.Content(i)) }

// Indexes lists the changed index files.
func (p *Plan) Indexes() []int {
	var indexes []int
	for i, a := range p.action {
		if project.Phase(a&phaseMask>>phaseShift) != project.Content && p.Changed(i) {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

// UnchangedIndexes lists the index files that stay as they are, of those whose
// last element is wanted.
func (p *Plan) UnchangedIndexes(wanted func(base string) bool) []int {
	var indexes []int
	for i := range p.action {
		if p.in.List.Active(i) && wanted(p.in.List.Base(i)) && p.in.Phase(p.in.List.Name(i)) != project.Content && !p.Changed(i) {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

// sortFetch puts small files first, so that one large file delays no others.
func (p *Plan) sortFetch() {
	slices.SortStableFunc(p.Fetch, func(a, b int) int {
		return class(p.in.List.Size(a)) - class(p.in.List.Size(b))
	})
}

// class groups sizes coarsely: within a class the list's order is kept, which is
// kind to upstream's disk.
func class(size int64) int {
	switch {
	case size < 64<<20:
		return 0
	case size < 512<<20:
		return 1
	default:
		return 2
	}
}

// extra decides on a local entry in dir that the list does not have.
func (p *Plan) extra(dir string, e *tree.Entry) error {
	name := e.Name
	if dir != "." && dir != "" {
		name = dir + "/" + e.Name
	}
	if i, ok := p.in.List.Find(name); ok && p.in.List.Mode(i)&flist.ModeType == flist.ModeDir {
		if !e.IsDir() { // in the way of a directory, whose own entry says so
			p.Counts.LocalFiles++
		}
		return nil
	}
	files, own, err := p.census(name, e)
	if err != nil || own {
		return err
	}
	p.Counts.LocalFiles += files
	since, known := p.in.Gone[name]
	if !known && !p.inherits(name) {
		p.Counts.NewGone += files
	}
	if !known || since.Before(firstDay) {
		since = p.in.Now
	}
	if p.due(since) {
		p.Drop = append(p.Drop, name)
		p.Counts.Changes++
		p.touchParent(name)
		return nil
	}
	p.Gone[name] = since
	return nil
}

// firstDay is before any run of this program: a clock that shows less has not
// been set yet, and neither deletes anything nor dates a tombstone.
var firstDay = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// due reports whether what is gone since then is to be deleted now. A clock that
// was set back far must not keep it for ever.
func (p *Plan) due(since time.Time) bool {
	if p.in.Grace == 0 {
		return true
	}
	age := p.in.Now.Sub(since)
	return p.in.Now.After(firstDay) && (age >= p.in.Grace || -age >= p.in.Grace)
}

// inherits reports whether a directory above name was already gone: its entries
// were counted then.
func (p *Plan) inherits(name string) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, ok := p.in.Gone[dir]; ok {
			return true
		}
	}
	return false
}

// census counts the files at and below a local entry. One that holds something
// of the node's own is left alone as a whole.
func (p *Plan) census(name string, e *tree.Entry) (files int64, own bool, err error) {
	if p.in.Own(name) {
		return 0, true, nil
	}
	if !e.IsDir() {
		return 1, false, nil
	}
	entries, err := p.in.Tree.List(name, nil)
	if err != nil {
		return 0, false, err
	}
	for i := range entries {
		n, o, err := p.census(name+"/"+entries[i].Name, &entries[i])
		if err != nil || o {
			return 0, o, err
		}
		files += n
	}
	return files, false, nil
}

func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}
