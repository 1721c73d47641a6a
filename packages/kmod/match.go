package kmod

import "strings"

// match is fnmatch(3) without flags, which is what aliases are made for: "*"
// and "?" match any character, "[a-z]" a range.
func match(pattern, s string) bool {
	// On a mismatch go back to the last star and let it take one more.
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		n, ok := 0, false
		if p < len(pattern) {
			if pattern[p] == '*' {
				star, mark = p, i
				p++
				continue
			}
			n, ok = matchOne(pattern[p:], s[i])
		}
		switch {
		case ok:
			p, i = p+n, i+1
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchOne matches one character and says how much of the pattern that took.
func matchOne(pattern string, c byte) (n int, ok bool) {
	switch pattern[0] {
	case '?':
		return 1, true
	case '[':
		end := strings.IndexByte(pattern, ']')
		if end > 1 {
			return end + 1, inSet(pattern[1:end], c)
		}
	}
	return 1, pattern[0] == c
}

// inSet tells whether c is in a bracket expression's list, "0-9ab" or "!0-9ab".
func inSet(set string, c byte) bool {
	not := len(set) > 1 && set[0] == '!'
	if not {
		set = set[1:]
	}
	for i := 0; i < len(set); i++ {
		lo, hi := set[i], set[i]
		if i+2 < len(set) && set[i+1] == '-' {
			hi = set[i+2]
			i += 2
		}
		if lo <= c && c <= hi {
			return !not
		}
	}
	return not
}
