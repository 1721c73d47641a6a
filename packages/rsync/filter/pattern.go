package filter

import (
	"slices"
	"strings"
)

// pattern is the compiled form of a rule's text.
type pattern struct {
	slashes int     // slashes in the text, a leading one included
	wild    bool    // has * ? or [
	wild2   bool    // has **
	wild2At bool    // starts with **
	wild3   bool    // ends with ***
	anchor  bool    // starts with /
	body    string  // the text without its anchor
	tokens  []token // of body, when wild
	last    []token // of "**/NAME": those of NAME, which the last element must match
}

// compile derives the pattern from the text.
func (r *rule) compile() {
	t := r.text
	p := pattern{slashes: strings.Count(t, "/"), wild: strings.ContainsAny(t, "*[?")}
	p.body, p.anchor = strings.CutPrefix(t, "/")
	if p.wild {
		at := strings.Index(t, "**")
		p.wild2, p.wild2At = at >= 0, at == 0
		p.wild3 = strings.HasSuffix(t, "***")
		p.tokens = tokenize(p.body)
		p.last = afterAny(p.tokens)
	}
	r.pattern = p
}

// afterAny gives what follows "**/" if that can only match a single element.
func afterAny(tokens []token) []token {
	slash := func(t token) bool { return t.kind == star2 || t.kind == literal && t.char == '/' }
	if len(tokens) < 3 || tokens[0].kind != star2 || tokens[1].kind == star2 || !slash(tokens[1]) || slices.ContainsFunc(tokens[2:], slash) {
		return nil
	}
	return tokens[2:]
}

// matches reports whether the rule applies to name, relative to the transfer's
// root, which is root below the module.
func (r *rule) matches(name string, dir bool, root string) bool {
	name = strings.TrimPrefix(name, "/")
	if name == "" || r.xattr {
		return false
	}
	if r.dirOnly && !dir {
		return r.negate
	}
	if r.abs && root != "" && (r.slashes > 0 || r.wild2) {
		name = root + "/" + name
	}
	return r.matchPath(name, dir && r.wild3) != r.negate
}

// matchPath matches the pattern with the part of the path that its kind looks
// at: only the last element if it has neither slash nor "**", the whole path if
// it is anchored, as many trailing elements as it has itself if it is not. With
// slash the path counts as if it ended in one, so that "dir/***" matches dir.
func (p *pattern) matchPath(path string, slash bool) bool {
	if p.slashes == 0 && !p.wild2 {
		path = path[strings.LastIndexByte(path, '/')+1:]
	}
	switch {
	case !p.wild && p.anchor:
		return path == p.body
	case !p.wild:
		before, found := strings.CutSuffix(path, p.body)
		return found && (before == "" || before[len(before)-1] == '/')
	case p.anchor:
		return glob(p.tokens, path, slash)
	case p.last != nil:
		return glob(p.last, path[strings.LastIndexByte(path, '/')+1:], slash)
	case p.wild2At:
		return p.matchAfterSlash(path, slash)
	case p.wild2:
		return p.matchAnywhere(path, slash)
	case p.slashes > 0:
		tail, ok := lastElements(path, p.slashes+1)
		return ok && glob(p.tokens, tail, slash)
	}
	return glob(p.tokens, path, slash)
}

// matchAfterSlash matches a pattern that starts with "**" as if the path had a
// leading slash, so that "**/x" matches a top-level x.
func (p *pattern) matchAfterSlash(path string, slash bool) bool {
	if glob(p.tokens, path, slash) {
		return true
	}
	t := p.tokens[1:]
	return len(t) > 0 && t[0].kind == literal && t[0].char == '/' && glob(t[1:], path, slash)
}

// matchAnywhere tries the pattern at the start of each element.
func (p *pattern) matchAnywhere(path string, slash bool) bool {
	for {
		if glob(p.tokens, path, slash) {
			return true
		}
		_, rest, found := strings.Cut(path, "/")
		if !found {
			return false
		}
		path = rest
	}
}

// lastElements returns the last n elements of path, if it has as many.
func lastElements(path string, n int) (string, bool) {
	for at := len(path) - 1; at >= 0; at-- {
		if path[at] == '/' {
			if n--; n == 0 {
				return path[at+1:], true
			}
		}
	}
	return path, n == 1
}
