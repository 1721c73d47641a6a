package consoled

import (
	"fmt"
	"io"
	"strings"
)

// screen draws frames on a terminal, in its middle and only what has changed.
type screen struct {
	w         io.Writer
	top, left int
	shown     Frame
	drawn     int // frames since all of it was drawn
}

// Escape sequences of console_codes(4).
const (
	// UTF-8, no cursor, no wrapping at the last column, never blank, clear.
	begin = "\x1b%G\x1b[?25l\x1b[?7l\x1b[9;0]\x1b[0m\x1b[2J"
	reset = "\x1b[0m"
)

// sgr are the colours of the styles; each can be read without them.
var sgr = map[Style]string{
	Plain:  "\x1b[0m",
	Title:  "\x1b[0;1;37;44m",
	Good:   "\x1b[0;1;37;42m",
	Notice: "\x1b[0;30;43m",
	Bad:    "\x1b[0;1;37;41m",
	Strong: "\x1b[0;1;37m",
	Dim:    "\x1b[0;36m",
}

func newScreen(w io.Writer, rows, columns int) *screen {
	return &screen{w: w, top: max(rows-Rows, 0) / 2, left: max(columns-Columns, 0) / 2}
}

// refresh is after how many frames all is drawn again, should anything else have
// written to the terminal.
const refresh = 60

// draw brings the screen from the last frame to this one in one write.
func (s *screen) draw(f Frame) error {
	var b strings.Builder
	all := s.drawn%refresh == 0
	if s.drawn == 0 {
		b.WriteString(begin)
	}
	for i, l := range f {
		if all || l != s.shown[i] {
			fmt.Fprintf(&b, "\x1b[%d;%dH%s%s", s.top+i+1, s.left+1, sgr[l.Style], l.Text)
		}
	}
	s.drawn++
	s.shown = f
	if b.Len() == 0 {
		return nil
	}
	b.WriteString(reset)
	_, err := io.WriteString(s.w, b.String())
	return err
}
