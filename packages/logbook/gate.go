package logbook

import (
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"micromirror/packages/syslog"
)

// A source may say this much: enough for the kernel's log of a whole boot at once,
// and for a service that is in trouble.
const (
	perSecond = 100
	burst     = 5000
)

// gate holds back a source that floods.
type gate struct {
	source  string
	limit   *rate.Limiter
	dropped int
}

func newGate(source string) *gate {
	return &gate{source: source, limit: rate.NewLimiter(perSecond, burst)}
}

// pass returns the message, behind a note of what was dropped before it, or
// nothing.
func (g *gate) pass(m syslog.Message) []syslog.Message {
	if !g.limit.Allow() {
		g.dropped++
		return nil
	}
	if g.dropped == 0 {
		return []syslog.Message{m}
	}
	note := g.note(fmt.Sprintf("%d lines of %s dropped: more than %d a second", g.dropped, g.source, perSecond))
	g.dropped = 0
	return []syslog.Message{note, m}
}

// note is a message of the logbook itself.
func (g *gate) note(text string) syslog.Message {
	return syslog.Message{Facility: syslog.Daemon, Severity: syslog.Warning, Time: time.Now(), App: "logd", ID: "loss", Text: text}
}
