// Package filter is rsync's include/exclude language: which names of a tree a
// sender leaves out and which names a receiver must not delete.
//
// Promise: a [List] decides as rsync 3.5.0 does for every rule it accepts
// (rsync(1), sections "FILTER RULES" to "ANCHORING INCLUDE/EXCLUDE PATTERNS";
// shown by differential tests against the real program). First matching rule
// wins; no match means included.
//
// Accepted: include, exclude, hide, show, protect, risk and clear, short and
// long names; modifiers / ! p r s x; `*`, `**`, `***`, `?`, classes with ranges
// and [:names:], anchors, trailing slash; the old syntax of --include and
// --exclude. Refused with an error: merge, dir-merge and the C modifier,
// because they read files that the peer names.
//
// Safe on hostile input: rules are bounded in count and length ([ErrTooMany],
// [ErrTooLong]), nothing panics, and a match costs at most the product of the
// lengths of pattern and name, whatever the pattern. The package reads no files
// and has no state besides the lists; a List that is no longer changed may be
// used concurrently.
package filter

import (
	"errors"
	"fmt"
	"unsafe"
)

// Bounds of a list. rsync itself bounds only the length of one rule.
const (
	MaxRules   = 8192    // rules in a list
	MaxRule    = 5 << 10 // bytes in one rule as sent on the wire
	MaxPattern = 4095    // bytes in one pattern (PATH_MAX without its NUL)
	MaxBytes   = 1 << 20 // bytes of all patterns of a list
)

// Errors for rules that are well-formed but not accepted.
var (
	ErrTooMany     = errors.New("too many filter rules")
	ErrTooLong     = errors.New("filter rule too long")
	ErrUnsupported = errors.New("merge-file filter rules are not supported")
	ErrTooModern   = errors.New("filter rules are too modern for remote rsync")
)

// RuleError is the error of a rule that a list does not take.
type RuleError struct {
	Rule string // its beginning
	Err  error
}

func (e *RuleError) Error() string { return fmt.Sprintf("filter rule %q: %v", e.Rule, e.Err) }
func (e *RuleError) Unwrap() error { return e.Err }

// Side is the end of a transfer that asks.
type Side uint8

// A sender asks what to hide, a receiver asks what to protect from deletion.
const (
	Sender Side = 1 << iota
	Receiver
)

// Decision is what a list says about a name.
type Decision int8

// Decisions. None means that no rule matched, which callers treat as Include.
const (
	Exclude Decision = iota - 1
	None
	Include
)

// List is an ordered list of rules. The zero value is empty and excludes
// nothing.
type List struct {
	// Root is the path of the transfer's root below the module's root, without
	// slashes at its ends. Only rules with the "/" modifier look at it.
	Root string
	// DeleteExcluded makes rules that name no side apply to the sender only, as
	// --delete-excluded does. It is set before rules are added.
	DeleteExcluded bool

	rules []rule
	bytes int
}

// Memory is at most how many bytes the rules take.
func (l *List) Memory() int64 {
	// A wildcard pattern has a token for each character and a set for each class,
	// which has three or more; slices may be twice as long as what is in them.
	const perRule, perByte = 2 * int64(unsafe.Sizeof(rule{})), 1 + int64(unsafe.Sizeof(token{})) + int64(unsafe.Sizeof(charSet{}))/3
	return perRule*int64(len(l.rules)) + perByte*int64(l.bytes)
}

// Parse makes a list of rules in the syntax of --filter.
func Parse(rules ...string) (*List, error) {
	l := new(List)
	for _, r := range rules {
		if err := l.Add(r); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Len returns the number of rules; a nil list has none.
func (l *List) Len() int {
	if l == nil {
		return 0
	}
	return len(l.rules)
}

// Add appends a rule in the syntax of --filter; "!" empties the list.
func (l *List) Add(text string) error {
	r, err := parseRule(text)
	if err != nil {
		return &RuleError{clip(text), err}
	}
	return l.add(r, text)
}

// Exclude appends a pattern as --exclude does.
func (l *List) Exclude(text string) error { return l.addOld(text, false) }

// Include appends a pattern as --include does.
func (l *List) Include(text string) error { return l.addOld(text, true) }

func (l *List) addOld(text string, include bool) error {
	r, err := parseOld(text, include)
	if err != nil {
		return &RuleError{clip(text), err}
	}
	return l.add(r, text)
}

// ExcludeModule appends a pattern as a daemon's "exclude" setting does: names
// are relative to the module, a pattern with a slash in it counts from the
// module's root, and a pattern for a directory covers all below it.
func (l *List) ExcludeModule(text string) error {
	r, err := parseOld(text, false)
	if err != nil {
		return &RuleError{clip(text), err}
	}
	r.forModule()
	return l.add(r, text)
}

func (l *List) add(r rule, text string) error {
	if r.clear {
		l.rules, l.bytes = nil, 0
		return nil
	}
	if len(l.rules) >= MaxRules || l.bytes+len(r.text) > MaxBytes {
		return &RuleError{clip(text), ErrTooMany}
	}
	if r.sides == 0 && l.DeleteExcluded {
		r.sides = Sender
	}
	r.compile()
	l.rules = append(l.rules, r)
	l.bytes += len(r.text)
	return nil
}

// Decide returns what the first rule that matches says about name, a path
// relative to the transfer's root, for one side.
func (l *List) Decide(name string, dir bool, side Side) Decision {
	if name == "" || name == "." {
		return None
	}
	for i := range l.rules {
		r := &l.rules[i]
		if r.sides != 0 && r.sides&side == 0 {
			continue
		}
		if r.matches(name, dir, l.Root) {
			if r.include {
				return Include
			}
			return Exclude
		}
	}
	return None
}

// Hidden reports whether a sender leaves name out. It looks at this name only:
// what lies below a hidden directory is not visited by the caller.
func (l *List) Hidden(name string, dir bool) bool {
	return l.Len() > 0 && l.Decide(name, dir, Sender) == Exclude
}

// Protected reports whether a receiver must not delete name although the sender
// does not have it.
func (l *List) Protected(name string, dir bool) bool {
	return l.Len() > 0 && l.Decide(name, dir, Receiver) == Exclude
}

// clip shortens hostile text for an error message.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
