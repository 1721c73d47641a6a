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
	// What is sorted is small; the entries move once.
	sorted := make([]*tree.Entry, len(entries))
	for i := range entries {
		sorted[i] = &entries[i]
	}
	slices.SortFunc(sorted, func(a, b *tree.Entry) int {
		if a.Dir != b.Dir {
			if a.Dir {
				return -1
			}
			return 1
		}
		c := compare(a, b, order.Column)
		if order.Descending {
			c = -c
		}
		if c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	moved := make([]tree.Entry, len(entries))
	for i, e := range sorted {
		moved[i] = *e
	}
	copy(entries, moved)
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
