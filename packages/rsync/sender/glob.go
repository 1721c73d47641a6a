package sender

import (
	"strings"

	"micromirror/packages/rsync/filter"
)

// maxGlob bounds what one argument can stand for.
const maxGlob = 1 << 16

// Glob expands the wildcards in an argument, in the order of the tree. Without
// wildcards, and if nothing matches, it gives the argument itself.
func (t *Tree) Glob(arg string) []string {
	if !strings.ContainsAny(arg, "*?[") {
		return []string{arg}
	}
	out := t.glob(nil, 0, "", strings.TrimLeft(arg, "/"))
	if len(out) == 0 {
		return []string{arg}
	}
	return out
}

// glob appends what the pattern matches below a directory whose path, as the
// client wrote it, is prefix.
func (t *Tree) glob(out []string, dir uint32, prefix, pattern string) []string {
	part, rest, more := strings.Cut(pattern, "/")
	if !strings.ContainsAny(part, "*?[") {
		next, err := t.resolve(dir, part, more)
		if err != nil {
			return out
		}
		return t.globbed(out, next, prefix+part, rest, more)
	}
	for i := dir + 1; i < t.nodes[dir].end && len(out) < maxGlob; i = t.next(i) {
		name := string(t.name(i))
		if !filter.Glob(part, name) {
			continue
		}
		next, err := t.resolve(dir, name, true)
		if err == nil {
			out = t.globbed(out, next, prefix+name, rest, more)
		}
	}
	return out
}

// globbed goes on with the rest of the pattern below a match.
func (t *Tree) globbed(out []string, node uint32, path, rest string, more bool) []string {
	switch {
	case len(out) >= maxGlob:
		return out
	case !more:
		return append(out, path)
	case !t.nodes[node].isDir():
		return out
	case rest == "":
		return append(out, path+"/")
	}
	return t.glob(out, node, path+"/", rest)
}
