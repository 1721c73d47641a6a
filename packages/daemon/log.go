package daemon

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"unicode/utf8"
)

// LevelNotice marks what a person at the console should see although nothing
// is wrong: the milestones of a boot, an update, a sync.
const LevelNotice = slog.Level(2)

// maxRecord keeps a line inside what the kernel accepts as one record.
const maxRecord = 900

// Notice logs a milestone, which also appears on the console.
func Notice(log *slog.Logger, msg string, args ...any) {
	log.Log(context.Background(), LevelNotice, msg, args...)
}

// NewLog returns a logger that writes every line to w and those of LevelNotice
// and above also to console, which may be nil.
func NewLog(name string, w, console io.Writer) *slog.Logger {
	text := slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: nameLevel})
	if console == nil {
		return slog.New(text)
	}
	r := &record{w: console, name: name}
	attrs := slog.NewTextHandler(&r.buf, &slog.HandlerOptions{Level: LevelNotice, ReplaceAttr: dropBuiltin})
	return slog.New(slog.NewMultiHandler(text, kmsg{record: r, attrs: attrs}))
}

func nameLevel(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.LevelKey && a.Value.Any() == LevelNotice {
		a.Value = slog.StringValue("NOTICE")
	}
	return a
}

// dropBuiltin leaves a record's own attributes: time and level come from the
// kernel log, the message is written in front of them.
func dropBuiltin(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
		return slog.Attr{}
	}
	return a
}

// kmsg is a slog.Handler that writes each line as one record of the kernel log.
type kmsg struct {
	record *record
	attrs  slog.Handler // formats the attributes into record.buf
}

// record is the line being put together; all handlers derived from one logger
// share it.
type record struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	w    io.Writer
	name string
}

func (k kmsg) Enabled(_ context.Context, l slog.Level) bool { return l >= LevelNotice }

func (k kmsg) WithAttrs(as []slog.Attr) slog.Handler {
	return kmsg{record: k.record, attrs: k.attrs.WithAttrs(as)}
}

func (k kmsg) WithGroup(name string) slog.Handler {
	return kmsg{record: k.record, attrs: k.attrs.WithGroup(name)}
}

func (k kmsg) Handle(ctx context.Context, rec slog.Record) error {
	r := k.record
	r.mu.Lock()
	defer r.mu.Unlock()
	r.buf.Reset()
	if err := k.attrs.Handle(ctx, rec); err != nil {
		return err
	}
	line := fmt.Sprintf("mm %s: %s %s", r.name, rec.Message, r.buf.Bytes())
	line = strings.TrimSpace(strings.Map(printable, line))
	_, err := fmt.Fprintf(r.w, "<%d>%s\n", priority(rec.Level), cut(line, maxRecord))
	return err
}

// priority is the syslog severity; anything from Notice on passes the console's
// default threshold.
func priority(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	default:
		return 5
	}
}

// printable keeps control bytes, which may come from outside, off the console.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return ' '
	}
	return r
}

// cut shortens s to at most n bytes at a character boundary.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
