package listing

import (
	"html"
	"strconv"
	"strings"
	"time"

	"micromirror/packages/httpd/page"
	"micromirror/packages/httpd/tree"
)

// HTML renders the directory dir ("." or "debian/dists"). about is a line of
// description, empty where there is none.
func HTML(site page.Site, dir, about string, entries []tree.Entry, order Order) []byte {
	const chrome, row = 8 << 10, 150 // roughly, so that one allocation does
	size := chrome
	for i := range entries {
		size += row + 2*len(entries[i].Name)
	}
	b := make([]byte, 0, size)
	title := "Index of /"
	if dir != "." {
		title += dir + "/"
	}
	b = page.AppendHead(b, site, title)
	b = appendBreadcrumb(b, dir)
	if about != "" {
		b = append(b, "<p class=about>"...)
		b = append(b, html.EscapeString(about)...)
		b = append(b, "</p>\n"...)
	}
	b = appendColumns(b, order)
	var times stamps
	for i := range entries {
		b = appendRow(b, &entries[i], &times)
	}
	b = append(b, "</table>\n"...)
	b = appendTotals(b, entries)
	return page.AppendFoot(b, site)
}

// appendBreadcrumb links every directory above. The links are absolute, which
// is how scanners tell them from entries.
func appendBreadcrumb(b []byte, dir string) []byte {
	b = append(b, `<nav><a href="/">Home</a>`...)
	href := "/"
	for part := range strings.SplitSeq(dir, "/") {
		if part == "." {
			break
		}
		href += string(appendEscaped(nil, part)) + "/"
		b = append(b, ` <i>/</i> <a href="`...)
		b = append(b, href...)
		b = append(b, `">`...)
		b = append(b, text(part)...)
		b = append(b, "</a>"...)
	}
	return append(b, "</nav>\n"...)
}

// appendColumns writes the table's head with its sort links: a click on the
// column in use turns its order around.
func appendColumns(b []byte, order Order) []byte {
	b = append(b, "<table>\n<thead><tr>"...)
	for _, c := range []struct {
		column byte
		title  string
	}{{'N', "Name"}, {'M', "Modified"}, {'S', "Size"}} {
		direction, mark := "A", ""
		if c.column == order.Column {
			mark = " ▲"
			if direction = "D"; order.Descending {
				direction, mark = "A", " ▼"
			}
		}
		b = append(b, `<th><a href="?C=`...)
		b = append(b, c.column)
		b = append(b, ";O="+direction+`">`+c.title+mark+"</a></th>"...)
	}
	b = append(b, "</tr></thead>\n"...)
	return append(b, `<tr><td><a href="../">../</a><td hidden>-<td><td>`+"\n"...)
}

// appendRow writes one entry: link, the cell for machines, the cells for people.
func appendRow(b []byte, e *tree.Entry, times *stamps) []byte {
	times.set(e.ModTime)
	slash := ""
	if e.Dir {
		slash = "/"
	}
	b = append(b, `<tr><td><a href="`...)
	b = appendEscaped(b, e.Name)
	b = append(b, slash+`">`...)
	b = append(b, text(e.Name)...)
	b = append(b, slash+"</a><td hidden>"...)
	b = append(b, times.machine...)
	b = append(b, ' ')
	if e.Dir {
		b = append(b, '-')
	} else {
		b = strconv.AppendInt(b, e.Size, 10)
	}
	// MirrorBrain reads on as far as it finds letters, digits and dashes: the
	// tag stops it before the cells for people.
	b = append(b, "<td><time>"...)
	b = append(b, times.human...)
	if e.Dir {
		return append(b, "</time><td>\n"...)
	}
	b = append(b, `</time><td title="`...)
	b = page.AppendGrouped(b, e.Size)
	b = append(b, ` bytes">`...)
	b = page.AppendSize(b, e.Size)
	return append(b, '\n')
}

func appendTotals(b []byte, entries []tree.Entry) []byte {
	var dirs, files, size int64
	var newest time.Time
	for i := range entries {
		if entries[i].Dir {
			dirs++
		} else {
			files++
			size += entries[i].Size
		}
		if entries[i].ModTime.After(newest) {
			newest = entries[i].ModTime
		}
	}
	b = append(b, "<p class=total>"...)
	b = appendCount(b, dirs, "directory", "directories")
	b = append(b, ", "...)
	b = appendCount(b, files, "file", "files")
	b = append(b, `, <span title="`...)
	b = page.AppendGrouped(b, size)
	b = append(b, ` bytes">`...)
	b = page.AppendSize(b, size)
	b = append(b, "</span>"...)
	if !newest.IsZero() {
		b = append(b, ", newest "...)
		b = newest.UTC().AppendFormat(b, "2006-01-02 15:04 UTC")
	}
	return append(b, "</p>\n"...)
}

func appendCount(b []byte, n int64, one, many string) []byte {
	b = page.AppendGrouped(b, n)
	if n == 1 {
		return append(b, " "+one...)
	}
	return append(b, " "+many...)
}

// stamps formats times. Files that were made together come together, so the last
// one is remembered.
type stamps struct {
	minute         int64
	machine, human []byte
}

func (s *stamps) set(t time.Time) {
	if minute := t.Unix() / 60; s.machine == nil || minute != s.minute {
		t = t.UTC()
		s.minute = minute
		s.machine = t.AppendFormat(s.machine[:0], "02-Jan-2006 15:04")
		s.human = t.AppendFormat(s.human[:0], "2006-01-02 15:04")
	}
}

// text makes a name fit to be shown.
func text(name string) string {
	if plain(name) {
		return name
	}
	return html.EscapeString(strings.ToValidUTF8(name, "\uFFFD"))
}

// plain says whether a name needs no escapes anywhere.
func plain(name string) bool {
	for i := range len(name) {
		if !unreserved[name[i]] {
			return false
		}
	}
	return true
}

// appendEscaped writes a name as one segment of a relative link. Only unreserved
// characters stay as they are: a colon, for one, would make a scheme of the name.
func appendEscaped(b []byte, name string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(name) {
		c := name[i]
		if unreserved[c] {
			b = append(b, c)
		} else {
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}

// unreserved are the bytes that stand for themselves in a URL. It is never
// written.
var unreserved = func() (table [256]bool) {
	for c := range table {
		table[c] = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			c == '-' || c == '.' || c == '_' || c == '~'
	}
	return table
}()
