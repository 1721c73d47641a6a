package vm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Line is one line that the machine wrote to its serial console.
type Line struct {
	Cycle int           // which PowerOn it belongs to, from 1
	At    time.Duration // since that PowerOn
	Text  string        // without escape sequences and line end
}

func (l Line) String() string { return fmt.Sprintf("%8.2f %s", l.At.Seconds(), l.Text) }

// maxLine bounds what a guest that never ends a line can make us hold.
const maxLine = 64 << 10

// console collects serial output, stamps it, and lets waiters look for text.
type console struct {
	mu      sync.Mutex
	lines   []Line
	partial []byte // the line that is not ended yet
	next    int    // index of the first line the next wait looks at
	cycle   int
	origin  time.Time
	changed chan struct{} // closed and replaced whenever something arrives
	log     io.Writer
	onLine  func(Line)
}

func newConsole(log io.Writer, onLine func(Line)) *console {
	return &console{changed: make(chan struct{}), log: log, onLine: onLine}
}

// powerOn begins a new cycle: time counts from now, and waits look only at what
// comes from now on.
func (c *console) powerOn(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLine(now)
	c.cycle++
	c.origin = now
	c.next = len(c.lines)
	fmt.Fprintf(c.log, "---- power on %d\n", c.cycle)
}

// Write takes serial output. It never fails, so that the guest never stalls.
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for rest := b; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			c.partial = append(c.partial, rest...)
			break
		}
		c.partial = append(c.partial, rest[:i]...)
		c.endLine(now)
		rest = rest[i+1:]
	}
	if len(c.partial) > maxLine {
		c.endLine(now)
	}
	close(c.changed)
	c.changed = make(chan struct{})
	return len(b), nil
}

func (c *console) endLine(now time.Time) {
	text := clean(c.partial)
	c.partial = nil
	if text == "" {
		return
	}
	l := Line{Cycle: c.cycle, At: now.Sub(c.origin), Text: text}
	c.lines = append(c.lines, l)
	fmt.Fprintln(c.log, l)
	if c.onLine != nil {
		c.onLine(l)
	}
}

// escapes are the terminal control sequences that firmware and loader send.
var escapes = regexp.MustCompile(`\x1b(\[[0-9;=?]*[A-Za-z]|[()][A-Z0-9]|[=>78cM])`)

func clean(b []byte) string {
	s := escapes.ReplaceAllString(string(b), "")
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' {
			return -1
		}
		return r
	}, s)
	return strings.TrimRight(s, " \t")
}

// find looks for re after the last match, including in the line being written
// unless re ends in $, which only a line's end can match. When nothing matches,
// the returned channel is closed at the next output.
func (c *console) find(re *regexp.Regexp) (Match, bool, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := min(c.next, len(c.lines)); i < len(c.lines); i++ {
		if sub := re.FindStringSubmatch(c.lines[i].Text); sub != nil {
			c.next = i + 1
			return Match{c.lines[i], sub}, true, nil
		}
	}
	if strings.HasSuffix(re.String(), "$") {
		return Match{}, false, c.changed
	}
	text := clean(c.partial)
	if sub := re.FindStringSubmatch(text); sub != nil && c.next <= len(c.lines) {
		c.next = len(c.lines) + 1
		return Match{Line{c.cycle, time.Since(c.origin), text}, sub}, true, nil
	}
	return Match{}, false, c.changed
}

// Match is a line that a wait found, and the groups of its expression.
type Match struct {
	Line
	Groups []string // Groups[0] is the whole match
}

// wait blocks until re appears, ctx ends, or the machine goes off.
func (c *console) wait(ctx context.Context, re *regexp.Regexp, off <-chan struct{}) (Match, error) {
	for {
		m, ok, changed := c.find(re)
		if ok {
			return m, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Match{}, fmt.Errorf("wait for %q on the console: %w; it ends\n%s", re, context.Cause(ctx), c.tail(25))
		case <-off:
			// Its last words may have arrived together with its end.
			if m, ok, _ := c.find(re); ok {
				return m, nil
			}
			return Match{}, fmt.Errorf("wait for %q on the console: the machine went off; it ends\n%s", re, c.tail(25))
		}
	}
}

func (c *console) all() []Line {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lines)
}

// unended is the line that is being written, if there is one.
func (c *console) unended() (Line, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Line{c.cycle, time.Since(c.origin), clean(c.partial)}, len(c.partial) > 0
}

func (c *console) tail(n int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, l := range c.lines[max(0, len(c.lines)-n):] {
		fmt.Fprintln(&b, "    "+l.String())
	}
	if len(c.partial) > 0 {
		fmt.Fprintf(&b, "    (unended) %s\n", clean(c.partial))
	}
	return b.String()
}
