package seed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"micromirror/packages/ext4"
	"micromirror/packages/layout"
	"micromirror/packages/mirror"
	"micromirror/packages/mirror/plan"
	"micromirror/packages/mirror/tree"
	"micromirror/packages/project"
	"micromirror/packages/rsync/filter"
)

const (
	dirType  = unix.S_IFDIR
	fileType = unix.S_IFREG
	linkType = unix.S_IFLNK
)

func names(projects []project.Project) []string {
	var out []string
	for i := range projects {
		out = append(out, projects[i].Name)
	}
	return out
}

// strangers refuses a folder with trees that the node's file does not name. What
// begins with a dot is a mirror's own.
func strangers(dir string, projects []project.Project) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	known := map[string]bool{"lost+found": true}
	for i := range projects {
		top, _, _ := strings.Cut(projects[i].Path, "/")
		known[top], known[projects[i].Name] = true, true
	}
	var unknown []string
	for _, e := range entries {
		if e.IsDir() && !known[e.Name()] && !strings.HasPrefix(e.Name(), ".") {
			unknown = append(unknown, e.Name())
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	return fmt.Errorf("%s: not in the node's file, which has %s; add them to its projects, or give a folder without them",
		strings.Join(unknown, ", "), strings.Join(names(projects), ", "))
}

// find returns the folder of a project's tree, by its path or its name; "" if
// there is none.
func find(dir string, p *project.Project) (string, error) {
	for _, name := range []string{p.Path, p.Name} {
		at := filepath.Join(dir, filepath.FromSlash(name))
		st, err := os.Lstat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return "", err
		case !st.IsDir():
			return "", fmt.Errorf("%s is no folder; a project's tree must be one itself, not a link to it", at)
		}
		return at, nil
	}
	return "", nil
}

// scanner walks one project's tree.
type scanner struct {
	*Seed
	ctx     context.Context
	part    int // 1 more than its index
	root    *tree.Root
	filter  *filter.List
	escapes func(name, target string) bool
	inodes  map[[2]uint64]int // nodes of files with several names
	refused []string
}

// take adds a project's tree.
func (s *Seed) take(ctx context.Context, source string, p *project.Project, parent int) error {
	rules, err := mirror.Filter(p)
	if err != nil {
		return err
	}
	root, err := tree.Open(source)
	if err != nil {
		return err
	}
	for dir := range strings.SplitSeq(path.Dir(p.Path), "/") {
		if dir != "." {
			parent = s.folder(parent, dir, 0o755, layout.SyncD)
		}
	}
	s.Parts = append(s.Parts, Part{Project: p.Name, root: root})
	c := &scanner{Seed: s, ctx: ctx, part: len(s.Parts), root: root, filter: rules,
		escapes: plan.Escapes(p.Path, p.SafeLinks), inodes: map[[2]uint64]int{}}
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	top := c.node(tree.Entry{Name: path.Base(p.Path), Info: info}, parent)
	s.Parts[c.part-1].node = top
	if err := c.walk("", top); err != nil {
		return err
	}
	return c.verdict(source)
}

// mostNamed is how many names of what is refused an error has.
const mostNamed = 5

func (c *scanner) verdict(source string) error {
	if len(c.refused) == 0 {
		return nil
	}
	more := ""
	if n := len(c.refused) - mostNamed; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("%s: %s%s; remove them from the copy", source, strings.Join(c.refused[:min(mostNamed, len(c.refused))], ", "), more)
}

// walk adds what a folder holds.
func (c *scanner) walk(dir string, parent int) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	at := dir
	if at == "" {
		at = "."
	}
	entries, err := c.root.List(at, nil)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name)
		if c.filter.Hidden(name, e.IsDir()) {
			continue
		}
		if err := c.entry(name, e, parent); err != nil {
			return err
		}
	}
	return nil
}

func (c *scanner) entry(name string, e tree.Entry, parent int) error {
	switch {
	case e.IsDir():
		return c.walk(name, c.node(e, parent))
	case e.IsRegular():
		c.file(e, parent)
	case e.IsSymlink():
		return c.link(name, e, parent)
	default:
		c.refused = append(c.refused, fmt.Sprintf("%q is neither file, folder nor link", name))
	}
	return nil
}

// node adds an entry as sync would publish it.
func (c *scanner) node(e tree.Entry, parent int) int {
	mode := uint32(linkType | 0o777)
	switch {
	case e.IsDir():
		mode = dirType | plan.DirMode(e.Mode)
	case e.IsRegular():
		mode = fileType | plan.FileMode(e.Mode)
	}
	return c.add(ext4.Node{Name: e.Name, Parent: parent, Mode: mode, UID: layout.SyncD, GID: layout.SyncD, Sec: e.Sec, Nsec: e.Nsec}, int32(c.part))
}

func (c *scanner) file(e tree.Entry, parent int) {
	part := &c.Parts[c.part-1]
	part.Files++
	i := c.node(e, parent)
	id := [2]uint64{e.Device, e.Inode}
	if first, ok := c.inodes[id]; ok {
		c.nodes[i].Same = first
		return
	}
	if e.Links > 1 {
		c.inodes[id] = i
	}
	c.nodes[i].Size = e.Size
	part.Bytes += e.Size
}

func (c *scanner) link(name string, e tree.Entry, parent int) error {
	target, err := c.root.Readlink(name)
	if err != nil {
		return err
	}
	if c.escapes(name, target) {
		c.refused = append(c.refused, fmt.Sprintf("link %q leads out of the tree (to %q)", name, target))
		return nil
	}
	c.nodes[c.node(e, parent)].Target = target
	return nil
}
