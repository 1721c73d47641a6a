package filter

import "strings"

type kind uint8

const (
	literal kind = iota // this character
	anyChar             // ?: any but a slash
	class               // [...]: any of a set
	star                // *: any run without slashes
	star2               // **: any run
	never               // malformed: matches nothing
)

// token is one element of a wildcard pattern.
type token struct {
	kind kind
	char byte
	set  *charSet // of a class
}

// charSet is a set of bytes.
type charSet [4]uint64

func (s *charSet) add(c byte)      { s[c>>6] |= 1 << (c & 63) }
func (s *charSet) has(c byte) bool { return s[c>>6]&(1<<(c&63)) != 0 }

func (s *charSet) addRange(from, to byte) {
	for c := int(from); c <= int(to); c++ {
		s.add(byte(c))
	}
}

// accepts reports whether a token that stands for one character takes c.
func (t *token) accepts(c byte) bool {
	switch t.kind {
	case literal:
		return c == t.char
	case anyChar:
		return c != '/'
	case class:
		return t.set.has(c)
	}
	return false
}

// tokenize splits a wildcard pattern. What follows a malformed element cannot
// match and is dropped. Neighbouring stars become one, so no two star tokens
// stand side by side.
func tokenize(p string) []token {
	tokens := make([]token, 0, len(p))
	for i := 0; i < len(p); i++ {
		switch c := p[i]; c {
		case '\\':
			if i++; i == len(p) {
				return append(tokens, token{kind: never})
			}
			tokens = append(tokens, token{kind: literal, char: p[i]})
		case '?':
			tokens = append(tokens, token{kind: anyChar})
		case '*':
			k := star
			for i+1 < len(p) && p[i+1] == '*' {
				i, k = i+1, star2
			}
			tokens = append(tokens, token{kind: k})
		case '[':
			set, length := parseClass(p[i+1:])
			if set == nil {
				return append(tokens, token{kind: never})
			}
			tokens = append(tokens, token{kind: class, set: set})
			i += length
		default:
			tokens = append(tokens, token{kind: literal, char: c})
		}
	}
	return tokens
}

// parseClass parses what follows "[" up to and including "]" and returns the
// set and the length; a nil set means malformed. The first character after "["
// or "[!" is always a member, also "]". No class matches a slash.
func parseClass(p string) (*charSet, int) {
	set, at := new(charSet), 0
	negate := p != "" && (p[0] == '!' || p[0] == '^')
	if negate {
		at++
	}
	prev := byte(0) // possible start of a range, 0 = none
	for first := true; ; first = false {
		if at >= len(p) {
			return nil, 0
		}
		if p[at] == ']' && !first {
			break
		}
		var ok bool
		if at, prev, ok = set.member(p, at, prev); !ok {
			return nil, 0
		}
	}
	if negate {
		for i := range set {
			set[i] = ^set[i]
		}
	}
	set['/'>>6] &^= 1 << ('/' & 63)
	return set, at + 1
}

// member adds the member of a class that starts at p[at] and returns where the
// next one starts and which character may start a range.
func (s *charSet) member(p string, at int, prev byte) (next int, start byte, ok bool) {
	c := p[at]
	switch {
	case c == '\\':
		if at++; at == len(p) {
			return 0, 0, false
		}
		s.add(p[at])
		return at + 1, p[at], true
	case c == '-' && prev != 0 && at+1 < len(p) && p[at+1] != ']':
		if at++; p[at] == '\\' {
			if at++; at == len(p) {
				return 0, 0, false
			}
		}
		s.addRange(prev, p[at])
		return at + 1, 0, true
	case c == '[' && strings.HasPrefix(p[at+1:], ":"):
		name, _, found := strings.Cut(p[at+2:], "]")
		if !found {
			return 0, 0, false
		}
		if bare, named := strings.CutSuffix(name, ":"); named {
			return at + 2 + len(name) + 1, 0, s.addNamed(bare)
		}
	}
	s.add(c)
	return at + 1, c, true
}

// addNamed adds a POSIX class, of the C locale.
func (s *charSet) addNamed(name string) bool {
	ranges, ok := map[string]string{
		"alnum": "09AZaz", "alpha": "AZaz", "blank": "  \t\t", "cntrl": "\x01\x1f\x7f\x7f",
		"digit": "09", "graph": "!~", "lower": "az", "print": " ~", "punct": "!/:@[`{~",
		"space": "\t\r  ", "upper": "AZ", "xdigit": "09AFaf",
	}[name]
	for i := 0; i+1 < len(ranges); i += 2 {
		s.addRange(ranges[i], ranges[i+1])
	}
	return ok
}
