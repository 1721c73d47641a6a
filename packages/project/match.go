package project

import "strings"

// MatchAny reports whether one of the patterns matches name.
func MatchAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if Match(p, name) {
			return true
		}
	}
	return false
}

// Match reports whether an rsync pattern matches a name relative to the tree's
// root. A name is matched as a whole when the pattern starts with a slash, by
// its tail when the pattern has a slash elsewhere or `**`, and by its last
// element otherwise.
func Match(pattern, name string) bool {
	if rest, ok := strings.CutPrefix(pattern, "/"); ok {
		return wild(rest, name)
	}
	if !strings.Contains(pattern, "/") && !strings.Contains(pattern, "**") {
		return wild(pattern, name[strings.LastIndexByte(name, '/')+1:])
	}
	for {
		if wild(pattern, name) {
			return true
		}
		_, rest, ok := strings.Cut(name, "/")
		if !ok {
			return false
		}
		name = rest
	}
}

// wild matches the whole of name. It keeps the last `*` and the last `**` to
// come back to, so its time is bounded by the product of the lengths, squared
// only when both occur.
func wild(pattern, name string) bool {
	for len(pattern) > 0 {
		if pattern[0] == '*' {
			return star(pattern, name)
		}
		n, ok := one(pattern, name)
		if !ok {
			return false
		}
		pattern, name = pattern[n:], name[1:]
	}
	return name == ""
}

// star matches a pattern that begins with one or more stars.
func star(pattern, name string) bool {
	rest := strings.TrimLeft(pattern, "*")
	deep := len(pattern)-len(rest) > 1
	for i := 0; ; i++ {
		if wild(rest, name[i:]) {
			return true
		}
		if i == len(name) || !deep && name[i] == '/' {
			return false
		}
	}
}

// one matches a single character of name and returns the length of the pattern
// element that did.
func one(pattern, name string) (int, bool) {
	if name == "" {
		return 0, false
	}
	switch pattern[0] {
	case '?':
		return 1, name[0] != '/'
	case '[':
		return class(pattern, name[0])
	case '\\':
		if len(pattern) > 1 {
			return 2, pattern[1] == name[0]
		}
	}
	return 1, pattern[0] == name[0]
}

// class matches c against a bracket expression, which may be negated and hold
// ranges. One that is not closed matches nothing.
func class(pattern string, c byte) (int, bool) {
	i, negated, found := 1, false, false
	if i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^') {
		negated = true
		i++
	}
	for first := i; i < len(pattern) && (pattern[i] != ']' || i == first); i++ {
		low := pattern[i]
		high := low
		if i+2 < len(pattern) && pattern[i+1] == '-' && pattern[i+2] != ']' {
			high = pattern[i+2]
			i += 2
		}
		found = found || low <= c && c <= high
	}
	if i >= len(pattern) || c == '/' {
		return 0, false
	}
	return i + 1, found != negated
}
