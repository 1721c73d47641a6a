package show

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"

	"micromirror/packages/vm"
)

// screen prints lines that stay and a status that replaces itself. Where the
// output is no terminal, the status becomes a line now and then.
type screen struct {
	mu      sync.Mutex
	out     io.Writer
	columns int // of the terminal, 0 for none
	now     func() time.Time
	last    time.Time // of the last status
	text    string    // of the last status
	shown   bool      // a status is on the terminal's last line
	partial []byte    // of Write
	told    map[string]bool
}

// statusEvery bounds how often a status is printed.
const (
	statusEveryTerminal = 200 * time.Millisecond
	statusEveryPlain    = 5 * time.Second
)

func newScreen(out io.Writer, columns int) *screen {
	return &screen{out: out, columns: columns, now: time.Now, told: map[string]bool{}}
}

// line prints a line that stays.
func (s *screen) line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.print(fmt.Sprintf(format, args...))
}

func (s *screen) print(text string) {
	if s.shown {
		fmt.Fprint(s.out, "\r\x1b[K")
		s.shown = false
	}
	fmt.Fprintln(s.out, text)
}

// status prints how far something is, unless the last status is too fresh.
func (s *screen) status(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, now := fmt.Sprintf(format, args...), s.now()
	every := statusEveryPlain
	if s.columns > 0 {
		every = statusEveryTerminal
	}
	if now.Sub(s.last) < every || s.columns == 0 && text == s.text {
		return
	}
	s.last, s.text = now, text
	if s.columns == 0 {
		s.print(text)
		return
	}
	runes := []rune(text)
	fmt.Fprint(s.out, "\r\x1b[K"+string(runes[:min(len(runes), s.columns-1)])) // a wrapped line could not be taken back
	s.shown = true
}

// Write makes the screen the log of other packages: each line stays.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.partial = append(s.partial, b...)
	for {
		line, rest, ended := bytes.Cut(s.partial, []byte("\n"))
		if !ended {
			return len(b), nil
		}
		s.print(string(line))
		s.partial = rest
	}
}

// telling are the console lines that a person wants to see while the node boots.
var telling = regexp.MustCompile(`BdsDxe: starting.*|Linux version \S+|mm \w+: .*|gokrazy build timestamp.*|Kernel panic.*`)

// console reports the node's own milestones, each once a boot: a service that
// cannot start tries again every second.
func (s *screen) console(l vm.Line) {
	text := telling.FindString(l.Text)
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.HasPrefix(text, "BdsDxe:") {
		clear(s.told)
	}
	if text == "" || s.told[text] {
		return
	}
	s.told[text] = true
	const long = 160
	if runes := []rune(text); len(runes) > long {
		text = string(runes[:long]) + " …"
	}
	s.print(fmt.Sprintf("node: %6.1f s  %s", l.At.Seconds(), text))
}
