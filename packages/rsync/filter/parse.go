package filter

import (
	"errors"
	"fmt"
	"strings"
)

// rule is one parsed rule. The flags below the pattern are derived from it by
// compile.
type rule struct {
	text    string // pattern without its trailing slash
	include bool
	clear   bool // "!": not a rule but an order
	negate  bool // matches what the pattern does not
	abs     bool // "/": match from the module's root
	dirOnly bool // the pattern had a trailing slash
	perish  bool // does not keep a directory from being deleted
	xattr   bool // for names of extended attributes only
	sides   Side // 0 = both

	pattern
}

// longNames are the long forms of the rule letters.
var longNames = [...]struct {
	name string
	op   byte
}{
	{"clear", '!'}, {"dir-merge", ':'}, {"exclude", '-'}, {"hide", 'H'}, {"include", '+'},
	{"merge", '.'}, {"protect", 'P'}, {"risk", 'R'}, {"show", 'S'},
}

// parseRule parses the syntax of --filter: NAME[,MODIFIERS] PATTERN, where the
// comma is optional after a one-letter name and an underscore may stand for the
// blank.
func parseRule(text string) (rule, error) {
	if err := checkText(text); err != nil {
		return rule{}, err
	}
	op, rest := ruleName(text)
	var r rule
	switch op {
	case '+':
		r.include = true
	case '-':
	case 'S':
		r.include, r.sides = true, Sender
	case 'H':
		r.sides = Sender
	case 'R':
		r.include, r.sides = true, Receiver
	case 'P':
		r.sides = Receiver
	case '!':
		if rest != "" {
			return rule{}, errors.New("'!' rule has trailing characters")
		}
		return rule{clear: true}, nil
	case ':', '.':
		return rule{}, ErrUnsupported
	default:
		return rule{}, errors.New("unknown filter rule")
	}
	rest, err := r.modifiers(rest, r.sides != 0)
	if err != nil {
		return rule{}, err
	}
	return r, r.setPattern(rest)
}

// ruleName splits the name of a rule from what follows it.
func ruleName(text string) (op byte, rest string) {
	for _, l := range longNames {
		rest, found := strings.CutPrefix(text, l.name)
		if !found {
			continue
		}
		switch {
		case rest == "", isSpace(rest[0]), rest[0] == '_':
			return l.op, rest
		case rest[0] == ',':
			return l.op, rest[1:]
		}
		return 0, ""
	}
	rest = text[1:]
	if rest != "" && rest[0] == ',' {
		rest = rest[1:]
	}
	return text[0], rest
}

// modifiers takes the modifiers off the front of s and returns what follows
// the blank or underscore that ends them.
func (r *rule) modifiers(s string, sided bool) (string, error) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case ' ', '_':
			return s[i+1:], nil
		case '/':
			r.abs = true
		case '!':
			r.negate = true
		case 'p':
			r.perish = true
		case 'x':
			r.xattr = true
		case 's', 'r':
			if sided {
				return "", badModifier(c, i)
			}
			if c == 's' {
				r.sides |= Sender
			} else {
				r.sides |= Receiver
			}
		case 'C':
			return "", ErrUnsupported
		default:
			return "", badModifier(c, i)
		}
	}
	return "", errors.New("unexpected end of filter rule")
}

func badModifier(c byte, at int) error {
	return fmt.Errorf("invalid modifier %q at position %d", c, at+1)
}

// parseOld parses the syntax of --include, --exclude and of the wire before
// protocol 29: a bare pattern, "+ " or "- " before it, or "!".
func parseOld(text string, include bool) (rule, error) {
	if err := checkText(text); err != nil {
		return rule{}, err
	}
	if text == "!" {
		return rule{clear: true}, nil
	}
	r := rule{include: include}
	switch {
	case strings.HasPrefix(text, "- "):
		r.include, text = false, text[2:]
	case strings.HasPrefix(text, "+ "):
		r.include, text = true, text[2:]
	}
	return r, r.setPattern(text)
}

func checkText(text string) error {
	switch {
	case text == "":
		return errors.New("empty filter rule")
	case len(text) > MaxRule:
		return ErrTooLong
	case strings.IndexByte(text, 0) >= 0:
		return errors.New("NUL byte in filter rule")
	}
	return nil
}

func (r *rule) setPattern(p string) error {
	if p == "" {
		return errors.New("unexpected end of filter rule")
	}
	if len(p) > MaxPattern {
		return ErrTooLong
	}
	if len(p) > 1 && strings.HasSuffix(p, "/") {
		r.dirOnly, p = true, p[:len(p)-1]
	}
	r.text = p
	return nil
}

// forModule changes a rule the way a daemon's configuration reads it.
func (r *rule) forModule() {
	if strings.Contains(r.text, "/") {
		r.abs = true
	}
	if r.dirOnly && !r.include {
		r.dirOnly, r.text = false, r.text+"/***"
	}
}

func isSpace(c byte) bool {
	return c == ' ' || '\t' <= c && c <= '\r'
}
