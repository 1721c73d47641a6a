package sender

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"micromirror/packages/rsync/filter"
	"micromirror/packages/rsync/flist"
	"micromirror/packages/rsync/wire"
)

// Request is what a client asked for, as far as it concerns which entries it
// gets.
type Request struct {
	Module string   // for messages
	Args   []string // paths in the module, as given; "" and "." are its root
	Filter *filter.List

	Recurse   bool // -r
	Dirs      bool // -d
	Relative  bool // -R
	NoImplied bool // --no-implied-dirs, before protocol 30

	CopyLinks    bool // -L
	CopyUnsafe   bool // --copy-unsafe-links
	CopyDirLinks bool // -k

	IgnoreMissing bool // --ignore-missing-args
}

// ErrTooLarge ends a request that multiplies entries by links or arguments.
var ErrTooLarge = errors.New("request selects too many entries")

// spare is how many entries more than the tree has a request may select.
const spare = 4 << 20

type chooser struct {
	*Request
	*selection
	ctx     context.Context
	account *Account
	names   *namer
	limit   int
	work    int // entries looked at, more for many rules

	dotted bool // the root of the transfer is in the list
}

// effort is how much work a request may make, in relation to the entries that
// there are: a few hundred rules for each of them.
const (
	effort   = 64
	littlest = 1 << 16 // entries that even a small tree counts as
)

// choose finds the entries that a request selects. What the selection takes is
// on the account.
func choose(ctx context.Context, t *Tree, r *Request, a *Account) (*selection, error) {
	c := chooser{
		Request: r, selection: &selection{tree: t, recurse: r.Recurse}, ctx: ctx, account: a,
		names: newNamer(t, view{}), limit: t.Len() + spare,
	}
	if !t.Complete() {
		c.ioError = wire.IOErrGeneral
	}
	for _, arg := range r.Args {
		if err := c.arg(arg); err != nil {
			return nil, err
		}
	}
	return c.selection, nil
}

// source is an argument split at the root of its transfer.
type source struct {
	root string // path of the directory that names are relative to
	name string // below it; "" is the directory itself
	dot  bool   // the content is meant: links are followed
}

// split finds the root of the transfer in an argument: the directory before the
// last element, or with -R the module's root or what stands before "/./".
func (r *Request) split(arg string) source {
	slash := arg == "" || arg == "." || strings.HasSuffix(arg, "/") || strings.HasSuffix(arg, "/.")
	if r.Relative {
		root, name, found := strings.Cut("/"+arg, "/./")
		if !found {
			root, name = "", arg
		}
		name = cleanPath(name)
		return source{root: cleanPath(root), name: name, dot: slash || name == ""}
	}
	path := cleanPath(arg)
	if slash {
		return source{root: path, dot: true}
	}
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return source{root: path[:i], name: path[i+1:]}
	}
	return source{name: path, dot: path == ""}
}

// cleanPath drops empty and "." elements and resolves ".." as far as the root.
func cleanPath(path string) string {
	var out []string
	for part := range strings.SplitSeq(path, "/") {
		switch part {
		case "", ".":
		case "..":
			out = out[:max(len(out)-1, 0)]
		default:
			out = append(out, part)
		}
	}
	return strings.Join(out, "/")
}

func (c *chooser) arg(arg string) error {
	src := c.split(arg)
	root, err := c.tree.resolve(0, src.root, true)
	if err == nil && !c.tree.nodes[root].isDir() {
		err = unix.ENOTDIR
	}
	if err != nil {
		c.missing("change_dir", "", src.root, err)
		return nil
	}
	node, err := c.tree.resolve(root, src.name, src.dot || c.CopyLinks || c.CopyDirLinks && c.dirLink(root, src.name))
	if err != nil {
		c.missing("link_stat", src.root, src.name, err)
		return nil
	}
	if src.name != "" && c.Filter.Hidden(src.name, c.tree.nodes[node].isDir()) {
		return nil
	}
	if c.tree.nodes[node].isDir() && !c.Recurse && !c.Dirs {
		c.notice(wire.Info, "skipping directory %s\n", orDot(src.name))
		return nil
	}
	if c.Relative {
		if err := c.implied(root, src.name, strings.HasPrefix(arg, "./")); err != nil {
			return err
		}
	}
	return c.top(node, src)
}

// dirLink reports whether a path ends in a link to a directory.
func (c *chooser) dirLink(root uint32, name string) bool {
	node, err := c.tree.resolve(root, name, true)
	return err == nil && c.tree.nodes[node].isDir()
}

// top adds what an argument names.
func (c *chooser) top(node uint32, src source) error {
	dir := c.tree.nodes[node].isDir()
	v := view{base: node, prefix: src.name}
	if dir && (c.Recurse || c.Dirs && (src.dot || src.name == "")) {
		v.role = flist.Top
	}
	c.views = append(c.views, v)
	if v.role != flist.Top {
		c.add(node)
		return c.check()
	}
	return c.below(node)
}

// below adds the base of the last view and what is in it.
func (c *chooser) below(dir uint32) error {
	t := c.tree
	end := t.nodes[dir].end
	plain := c.Filter.Len() == 0 && !c.CopyLinks && !c.CopyUnsafe && !c.CopyDirLinks
	if plain && c.Recurse {
		c.addRange(dir, end)
		return c.check()
	}
	v := c.views[len(c.views)-1]
	c.names.use(v)
	c.add(dir)
	var linked []linkedDir
	for i := dir + 1; i < end; {
		next := t.next(i)
		c.work += 1 + c.Filter.Len()/8
		if name := c.names.name(i); !c.skip(i, name) {
			follow, err := c.follow(i, name)
			switch {
			case err != nil:
			case follow != noNode && t.nodes[follow].isDir():
				linked = append(linked, linkedDir{follow, name})
			case follow != noNode:
				c.views = append(c.views, view{base: follow, prefix: name})
				c.add(follow)
				c.views = append(c.views, v)
			default:
				c.add(i)
				if c.Recurse && t.nodes[i].isDir() {
					next = i + 1
				}
			}
		}
		if err := c.check(); err != nil {
			return err
		}
		i = next
	}
	return c.linkedDirs(linked, dir)
}

// linkedDir is a directory that is sent in place of a link.
type linkedDir struct {
	node uint32
	name string
}

// linkedDirs adds directories that links stand for. One that holds the link
// itself is added without its content, or it would have no end.
func (c *chooser) linkedDirs(dirs []linkedDir, from uint32) error {
	for _, d := range dirs {
		endless := d.node <= from && from < c.tree.nodes[d.node].end || len(d.name) > maxPath/2
		v := view{base: d.node, prefix: d.name}
		if c.Recurse && !endless {
			v.role = flist.Inner
		}
		c.views = append(c.views, v)
		if v.role != flist.Inner {
			c.add(d.node)
			continue
		}
		if err := c.below(d.node); err != nil {
			return err
		}
	}
	return c.check()
}

// check ends what has become too much, or is no longer wanted.
func (c *chooser) check() error {
	if c.count > c.limit || len(c.views) > c.limit || c.work > effort*max(c.tree.Len(), littlest) {
		return ErrTooLarge
	}
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	if more := c.memory() - c.taken; more > 0 {
		c.taken += more
		return c.account.Take(more)
	}
	return nil
}

// skip reports whether the client's rules hide an entry.
func (c *chooser) skip(i uint32, name string) bool {
	return c.Filter.Hidden(name, c.tree.nodes[i].isDir())
}

// follow gives the node to send in place of a link, noNode to send the entry
// itself, or an error to send nothing.
func (c *chooser) follow(i uint32, name string) (uint32, error) {
	n := &c.tree.nodes[i]
	if !n.isLink() || !(c.CopyLinks || c.CopyDirLinks || c.CopyUnsafe) {
		return noNode, nil
	}
	node, err := c.tree.resolve(n.parent, string(c.tree.name(i)), true)
	switch {
	case c.CopyLinks, c.CopyUnsafe && unsafeLink(string(c.tree.target(i)), name):
		if err != nil {
			c.ioError |= wire.IOErrGeneral
			c.notice(wire.ErrorXfer, "symlink has no referent: %s\n", c.full("", name))
		}
		return node, err
	case err == nil && c.CopyDirLinks && c.tree.nodes[node].isDir():
		return node, nil
	}
	return noNode, nil
}

// implied adds the directories that lead to a name, for -R; the root of the
// transfer too if the client wrote "./", but once only.
func (c *chooser) implied(root uint32, name string, dot bool) error {
	if dot && name != "" && !c.dotted {
		c.dotted = true
		c.views = append(c.views, view{base: root, role: flist.Implied})
		c.add(root)
	}
	if c.NoImplied {
		return nil
	}
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		node, err := c.tree.resolve(root, name[:i], true)
		if err != nil {
			return fmt.Errorf("implied directory %s: %w", name[:i], err)
		}
		c.views = append(c.views, view{base: node, prefix: name[:i], role: flist.Implied})
		c.add(node)
	}
	return c.check()
}

// missing tells the client that an argument does not exist.
func (c *chooser) missing(op, root, name string, err error) {
	if err == unix.ENOENT && c.IgnoreMissing {
		return
	}
	if err != unix.ENOENT {
		c.ioError |= wire.IOErrGeneral
	}
	var errno unix.Errno
	errors.As(err, &errno)
	c.notice(wire.ErrorXfer, "rsync: [sender] %s %s failed: %s (%d)\n", op, c.full(root, name), strerror(errno), errno)
}

// strerror is the C library's text of an error that a path can meet.
func strerror(e unix.Errno) string {
	switch e {
	case unix.ENOENT:
		return "No such file or directory"
	case unix.EACCES:
		return "Permission denied"
	case unix.ENOTDIR:
		return "Not a directory"
	case unix.ELOOP:
		return "Too many levels of symbolic links"
	case unix.EXDEV:
		return "Invalid cross-device link"
	}
	return e.Error()
}

func (c *chooser) notice(tag wire.Tag, format string, args ...any) {
	const most = 1000 // a client that names very many missing files is told of some
	if len(c.notices) < most {
		c.notices = append(c.notices, notice{tag, fmt.Sprintf(format, args...)})
	}
}

// full quotes a name and says where it is, as rsync's daemon does.
func (c *chooser) full(root, name string) string {
	if root != "" {
		name = "/" + root + "/" + name
	}
	return fmt.Sprintf("\"%s\" (in %s)", name, c.Module)
}

func orDot(name string) string {
	if name == "" {
		return "."
	}
	return name
}

// unsafeLink reports whether a link at name leads out of the transfer, by the
// rules of --copy-unsafe-links: absolute, or more ".." than directories, or
// ".." anywhere but at its start.
func unsafeLink(target, name string) bool {
	if target == "" || target[0] == '/' {
		return true
	}
	depth, down := strings.Count(name, "/"), false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 || down {
				return true
			}
		default:
			down = true
			depth++
		}
	}
	return false
}
