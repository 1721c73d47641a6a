package filter

import (
	"fmt"
	"strings"
)

// sidedProtocol is the first protocol whose rules on the wire have the full
// syntax; older ones know "pattern", "- pattern", "+ pattern" and "!".
const sidedProtocol = 29

// AddWire appends a rule as a receiving peer sent it.
func (l *List) AddWire(text string, protocol int) error {
	if protocol < sidedProtocol {
		return l.Exclude(text)
	}
	return l.Add(text)
}

// Wire returns the rules as a receiver sends them to a sender: those that
// concern the sender, in the syntax of the protocol. Each goes out with its
// length before it; a length of zero ends the list.
func (l *List) Wire(protocol int) ([]string, error) {
	var out []string
	for i := range l.rules {
		r := &l.rules[i]
		if r.sides == Receiver {
			continue
		}
		text, ok := r.wire(protocol)
		if !ok {
			return nil, fmt.Errorf("send filter rule %q: %w", clip(r.text), ErrTooModern)
		}
		out = append(out, text)
	}
	return out, nil
}

// wire formats a rule for the protocol, or reports that it cannot say it.
func (r *rule) wire(protocol int) (string, bool) {
	pattern := r.text
	if r.dirOnly {
		pattern += "/"
	}
	if protocol < sidedProtocol {
		return r.wireOld(pattern)
	}
	var b strings.Builder
	for _, p := range []struct {
		set  bool
		char byte
	}{
		{r.include, '+'}, {!r.include, '-'}, {r.abs, '/'}, {r.negate, '!'}, {r.xattr, 'x'},
		{r.sides&Sender != 0, 's'}, {r.sides&Receiver != 0, 'r'}, {r.perish && protocol >= 30, 'p'},
	} {
		if p.set {
			b.WriteByte(p.char)
		}
	}
	return b.String() + " " + pattern, true
}

func (r *rule) wireOld(pattern string) (string, bool) {
	switch {
	case r.abs || r.negate || r.xattr:
		return "", false
	case r.include:
		return "+ " + pattern, true
	case strings.HasPrefix(pattern, "- "), strings.HasPrefix(pattern, "+ "), pattern == "!":
		return "- " + pattern, true
	}
	return pattern, true
}
