// Package listing renders a directory for people and for mirror checkers at once.
//
// The HTML is an interface. MirrorBrain takes it for Apache's table output: a
// bare <table> with sort links "?C=N;O=D", then one line per entry with link,
// date and size. MirrorCache wants link text equal to the name, and date and
// exact size in one text node: that is the hidden cell. Debian's checker reads
// the links. A person sees a table with readable sizes, exact bytes on hover,
// sorting without JavaScript, a breadcrumb and totals. JSON has the form of
// nginx's autoindex.
//
// Names are bytes: links carry them percent-encoded, exactly; text shows invalid
// UTF-8 as the replacement character.
package listing

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"micromirror/packages/httpd/tree"
)

// Order is how a listing is sorted.
type Order struct {
	Column     byte // 'N' name, 'M' modified, 'S' size
	Descending bool
}

// ParseOrder reads the query as Apache's sort links write it: "C=S;O=D". What
// it does not know it ignores; checkers send more.
func ParseOrder(query string) Order {
	order := Order{Column: 'N'}
	fields := strings.FieldsFunc(query, func(r rune) bool { return r == ';' || r == '&' })
	for _, f := range fields {
		switch f {
		case "C=N", "C=M", "C=S":
			order.Column = f[2]
		case "O=A":
			order.Descending = false
		case "O=D":
			order.Descending = true
		}
	}
	return order
}

// Sort orders entries in place: directories first, then by the column, then by
// name.
func Sort(entries []tree.Entry, order Order) {
	// What is sorted is small and holds what decides most comparisons; the entries
	// move once.
	sorted := make([]ranked, len(entries))
	skip := commonPrefix(entries)
	for i := range entries {
		sorted[i] = ranked{rank(&entries[i], order.Column, skip), &entries[i], entries[i].Dir}
	}
	slices.SortFunc(sorted, func(a, b ranked) int {
		if a.dir != b.dir {
			if a.dir {
				return -1
			}
			return 1
		}
		c := cmp.Compare(a.rank, b.rank)
		if c == 0 {
			c = compare(a.entry, b.entry, order.Column)
		}
		if order.Descending {
			c = -c
		}
		if c != 0 {
			return c
		}
		return strings.Compare(a.entry.Name, b.entry.Name)
	})
	moved := make([]tree.Entry, len(entries))
	for i := range sorted {
		moved[i] = *sorted[i].entry
	}
	copy(entries, moved)
}

// ranked is an entry with a number that is in order wherever it differs.
type ranked struct {
	rank  uint64
	entry *tree.Entry
	dir   bool
}

// rank is an entry's number in a column: of a name, the eight bytes behind what all
// names begin with.
func rank(e *tree.Entry, column byte, skip int) uint64 {
	switch column {
	case 'M':
		return uint64(e.ModTime.Unix()) ^ 1<<63
	case 'S':
		return uint64(e.Size)
	}
	var b [8]byte
	copy(b[:], e.Name[skip:])
	return binary.BigEndian.Uint64(b[:])
}

// commonPrefix is the length of what all names begin with: packages of one kind
// often stand together.
func commonPrefix(entries []tree.Entry) int {
	if len(entries) == 0 {
		return 0
	}
	first := entries[0].Name
	n := len(first)
	for i := range entries {
		name := entries[i].Name
		n = min(n, len(name))
		if first[:n] == name[:n] {
			continue
		}
		for i := range n {
			if first[i] != name[i] {
				n = i
				break
			}
		}
	}
	return n
}

func compare(a, b *tree.Entry, column byte) int {
	switch column {
	case 'M':
		return a.ModTime.Compare(b.ModTime)
	case 'S':
		return cmp.Compare(a.Size, b.Size)
	}
	return strings.Compare(a.Name, b.Name)
}

// jsonEntry is one element of the JSON listing.
type jsonEntry struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	MTime string `json:"mtime"`
	Size  *int64 `json:"size,omitempty"`
}

// JSON renders the entries as nginx's autoindex does.
func JSON(entries []tree.Entry) ([]byte, error) {
	list := make([]jsonEntry, 0, len(entries))
	for _, e := range entries {
		j := jsonEntry{Name: e.Name, Type: "directory", MTime: e.ModTime.UTC().Format(httpTime)}
		if !e.Dir {
			j.Type, j.Size = "file", &e.Size
		}
		list = append(list, j)
	}
	return json.Marshal(list)
}

const httpTime = "Mon, 02 Jan 2006 15:04:05 GMT"

// Latest is the newest modification among entries, at least since: what a
// listing as a whole was last modified.
func Latest(entries []tree.Entry, since time.Time) time.Time {
	for _, e := range entries {
		if e.ModTime.After(since) {
			since = e.ModTime
		}
	}
	return since
}
