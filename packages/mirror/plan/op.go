package plan

import (
	"fmt"
	"strconv"
	"strings"
)

// Verb says what an operation does.
type Verb string

// The operations. All can be repeated after an interruption.
const (
	Dir  Verb = "dir"  // make directory Path with Mode
	Away Verb = "away" // move Path out of the tree, if it is a directory as Mode says
	File Verb = "file" // place the staged file Source at Path
	Hard Verb = "hard" // make Path a further name of Source, both in the tree
	Link Verb = "link" // make Path a symbolic link to Source
	Mode Verb = "mode" // set the permissions of Path
	Time Verb = "time" // set the time of Path; of a directory its Mode too
	Drop Verb = "drop" // delete Path with all below it
	Gone Verb = "gone" // Path has been missing upstream since Sec

	Switch Verb = "switch" // what follows, up to Settle, becomes valid at once
	Settle Verb = "settle" // it all lies in the tree now
)

// Op is one line of a plan.
type Op struct {
	Verb   Verb
	Path   string
	Source string
	Mode   uint32
	Size   int64
	Sec    int64
	Nsec   uint32
}

// append formats the operation. Names are quoted as in Go, so that every byte
// can be in them.
func (o *Op) append(b []byte) []byte {
	b = append(b, o.Verb...)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(o.Mode), 8)
	for _, n := range []int64{o.Size, o.Sec, int64(o.Nsec)} {
		b = append(b, ' ')
		b = strconv.AppendInt(b, n, 10)
	}
	b = append(b, ' ')
	b = strconv.AppendQuote(b, o.Path)
	b = append(b, ' ')
	b = strconv.AppendQuote(b, o.Source)
	return append(b, '\n')
}

// parseOp reads a line without its newline.
func parseOp(line string) (Op, error) {
	verb, rest, _ := strings.Cut(line, " ")
	o := Op{Verb: Verb(verb)}
	mode, rest, _ := strings.Cut(rest, " ")
	m, err := strconv.ParseUint(mode, 8, 16)
	if err != nil {
		return o, fmt.Errorf("mode: %w", err)
	}
	o.Mode = uint32(m)
	var numbers [3]int64
	for i := range numbers {
		var text string
		text, rest, _ = strings.Cut(rest, " ")
		if numbers[i], err = strconv.ParseInt(text, 10, 64); err != nil {
			return o, err
		}
	}
	if numbers[0] < 0 || numbers[2] < 0 || numbers[2] >= 1e9 {
		return o, fmt.Errorf("number out of range")
	}
	o.Size, o.Sec, o.Nsec = numbers[0], numbers[1], uint32(numbers[2])
	if o.Path, rest, err = unquote(rest); err != nil {
		return o, fmt.Errorf("path: %w", err)
	}
	rest = strings.TrimPrefix(rest, " ")
	if o.Source, rest, err = unquote(rest); err != nil || rest != "" {
		return o, fmt.Errorf("source: %w", strconv.ErrSyntax)
	}
	return o, o.check()
}

func unquote(s string) (text, rest string, err error) {
	q, err := strconv.QuotedPrefix(s)
	if err != nil || q[0] != '"' {
		return "", s, strconv.ErrSyntax
	}
	text, err = strconv.Unquote(q)
	return text, s[len(q):], err
}
