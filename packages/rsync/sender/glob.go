package sender

import (
	"strings"

	"micromirror/packages/rsync/filter"
)

// Globber expands wildcards in a client's arguments. What it may look at is
// bounded for all of them together; beyond that they stand for themselves.
type Globber struct {
	*Tree
	budget int
	out    []string
}

// maxGlob bounds what all arguments together can stand for.
const maxGlob = 1 << 17

// NewGlobber starts with a tree.
func NewGlobber(t *Tree) *Globber {
	return &Globber{Tree: t, budget: 2*t.Len() + spare}
}

// Expand gives what an argument's wildcards match, in the order of the tree.
// Without wildcards, and if nothing matches, it is the argument itself.
func (g *Globber) Expand(arg string) []string {
	if !strings.ContainsAny(arg, "*?[") {
		return []string{arg}
	}
	g.out = nil
	g.match(0, "", strings.TrimLeft(arg, "/"))
	if len(g.out) == 0 {
		return []string{arg}
	}
	return g.out
}

// match adds what the pattern matches below a directory whose path, as the
// client wrote it, is prefix.
func (g *Globber) match(dir uint32, prefix, pattern string) {
	part, rest, more := strings.Cut(pattern, "/")
	if !strings.ContainsAny(part, "*?[") {
		if next, err := g.resolve(dir, part, more); err == nil {
			g.matched(next, prefix+part, rest, more)
		}
		return
	}
	for i := dir + 1; i < g.nodes[dir].end && g.budget > 0; i = g.next(i) {
		g.budget--
		name := string(g.name(i))
		if !filter.Glob(part, name) {
			continue
		}
		if next, err := g.resolve(dir, name, true); err == nil {
			g.matched(next, prefix+name, rest, more)
		}
	}
}

// matched goes on with the rest of the pattern below a match.
func (g *Globber) matched(node uint32, path, rest string, more bool) {
	switch {
	case len(g.out) >= maxGlob, more && !g.nodes[node].isDir():
	case !more:
		g.out = append(g.out, path)
	case rest == "":
		g.out = append(g.out, path+"/")
	default:
		g.match(node, path+"/", rest)
	}
}
