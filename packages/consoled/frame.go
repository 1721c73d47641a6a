package consoled

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// The size of a frame: what every screen and every terminal can show.
const (
	Rows    = 25
	Columns = 80
)

// Style is how a line looks.
type Style byte

// The styles. Their characters stand for them in tests.
const (
	Plain  Style = ' '
	Title  Style = 'T'
	Good   Style = 'G'
	Notice Style = 'N'
	Bad    Style = 'B'
	Strong Style = 'S'
	Dim    Style = 'd'
)

// Line is one line of the screen, always exactly Columns characters wide.
type Line struct {
	Style Style
	Text  string
}

// Frame is what the screen shows.
type Frame [Rows]Line

// String shows a frame with its styles, for people and tests.
func (f Frame) String() string {
	var b strings.Builder
	for _, l := range f {
		b.WriteString(strings.TrimRight(string(l.Style)+"|"+l.Text, " ") + "\n")
	}
	return b.String()
}

// line makes a line of any text, which may come from outside: what is not one
// plain character wide becomes "?".
func line(style Style, text string) Line {
	text = clip(strings.Map(plain, text), Columns)
	return Line{style, text + strings.Repeat(" ", Columns-utf8.RuneCountInString(text))}
}

// plain lets through what takes one cell in a console font. Wide scripts begin
// at U+1100.
func plain(r rune) rune {
	switch {
	case r == ' ' || r == '\t' || r == '\n':
		return ' '
	case r >= 0x1100 && r != '…' || !unicode.IsPrint(r) || unicode.Is(unicode.Mn, r):
		return '?'
	}
	return r
}

// clip shortens a text to n characters.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:max(n-2, 0)]) + ".."
}

// spread puts one text at the left margin and one at the right; the left gives
// way.
func spread(style Style, left, right string) Line {
	room := Columns - 2 - utf8.RuneCountInString(right)
	left = clip(left, max(room-1, 0))
	pad := max(room-utf8.RuneCountInString(left), 0)
	return line(style, " "+left+strings.Repeat(" ", pad)+right)
}

// wrap breaks a text at spaces into lines of at most n characters; a word that is
// longer is broken anywhere.
func wrap(text string, n int) (lines []string) {
	current := []rune(nil)
	for _, word := range strings.Fields(text) {
		w := []rune(word)
		if len(current) > 0 && len(current)+1+len(w) > n {
			lines, current = append(lines, string(current)), nil
		}
		if len(current) > 0 {
			current = append(current, ' ')
		}
		for current = append(current, w...); len(current) > n; current = current[n:] {
			lines = append(lines, string(current[:n]))
		}
	}
	if len(current) > 0 {
		lines = append(lines, string(current))
	}
	return lines
}
