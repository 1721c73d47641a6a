package node

import (
	"fmt"
	"strings"
)

// Problem is one thing wrong with a configuration file.
type Problem struct {
	File   string
	Line   int    // 0 when the field is missing or the file is
	Field  string // for example addresses[1]; empty for the file as a whole
	Value  string // as written, shortened
	Reason string
	Remedy string
}

// unknownField is the reason of a problem with a field that the reader does not
// have.
const unknownField = "is not a known field"

// Unknown reports whether the problem is only a field that a newer release may
// know.
func (p Problem) Unknown() bool { return p.Reason == unknownField }

// String gives the problem in one line, so that it fits a console.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	if p.Value != "" {
		b.WriteString(p.Value + " ")
	}
	b.WriteString(p.Reason)
	if p.Remedy != "" {
		b.WriteString("; " + p.Remedy)
	}
	return b.String()
}

// Problems is the error of ReadDesk: everything that is wrong, in file order.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// show quotes a value for a message; long ones are cut.
func show(v any) string {
	const most = 80
	s := fmt.Sprint(v)
	if len(s) > most {
		s = s[:most] + "…"
	}
	return fmt.Sprintf("%q", s)
}

// nearest returns the candidate that s was probably meant to be, or "".
func nearest(s string, candidates []string) string {
	best, name := 3, ""
	for _, c := range candidates {
		if d := distance(s, c); d < best && d < len(c) {
			best, name = d, c
		}
	}
	return name
}

// distance is the Levenshtein distance; long strings are simply far apart.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
