package acme

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"micromirror/packages/durable"
)

const attemptsFile = "attempts.json"

// Most is how many attempts a day has.
const Most = 5

// day is the time that attempts count for.
const day = 24 * time.Hour

// budget counts attempts, over restarts.
type budget struct {
	// Attempts are the times of the last day's attempts, oldest first.
	Attempts []time.Time `json:"attempts"`
	// Failures is how many in a row have failed, Reason why the last one did.
	Failures int    `json:"failures"`
	Reason   string `json:"reason,omitempty"`
	// Refused are the names that could not be proven.
	Refused map[string]refusal `json:"refused,omitempty"`

	file string
}

// refusal is when and why a name could not be proven.
type refusal struct {
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

// refuse leaves a name out for a day.
func (b *budget) refuse(name, reason string, now time.Time) {
	if b.Refused == nil {
		b.Refused = map[string]refusal{}
	}
	b.Refused[name] = refusal{now.UTC(), reason}
}

// provable returns the names that a certificate can be had for, and says why others
// are left out. The first one, the node's own, always counts. A refusal of the
// future was made with another clock and is over.
func (b *budget) provable(names []string, now time.Time) (provable []string, why string) {
	for i, name := range names {
		r, refused := b.Refused[name]
		if age := now.Sub(r.At); i == 0 || !refused || age < 0 || age >= day {
			provable = append(provable, name)
			continue
		}
		if why != "" {
			why += "; "
		}
		why += name + ": " + r.Reason
	}
	return provable, why
}

// readBudget reads the count. One that is damaged is taken for used up, once: the
// authority's own limits are not known to us.
func readBudget(file string, log *slog.Logger) *budget {
	b := &budget{file: file}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return b
	}
	if err == nil {
		err = json.Unmarshal(data, b)
	}
	if err != nil {
		log.Error("attempts", "err", err)
		*b = budget{file: file, Reason: "the count of attempts was damaged"}
		for range Most {
			b.Attempts = append(b.Attempts, time.Now())
		}
		if err := b.write(); err != nil {
			log.Error("attempts", "err", err)
		}
		return b
	}
	b.Failures = max(0, b.Failures)
	return b
}

// pauses are the times between an attempt that failed and the next, by failures
// in a row; the last one stays.
var pauses = [...]time.Duration{time.Minute, 10 * time.Minute, time.Hour, 4 * time.Hour, 12 * time.Hour}

// wait returns in how long the next attempt may begin.
func (b *budget) wait(now time.Time) time.Duration {
	b.forget(now)
	wait := time.Duration(0)
	if len(b.Attempts) >= Most {
		wait = b.Attempts[len(b.Attempts)-Most].Add(day).Sub(now)
	}
	if b.Failures > 0 {
		pause := pauses[min(b.Failures, len(pauses))-1]
		wait = max(wait, b.last().Add(pause).Sub(now))
	}
	return max(0, wait)
}

// forget drops what is older than a day. An attempt of the future was made with
// another clock: it counts as made now.
func (b *budget) forget(now time.Time) {
	kept := b.Attempts[:0]
	for _, at := range b.Attempts {
		if at.After(now) {
			at = now
		}
		if now.Sub(at) < day {
			kept = append(kept, at)
		}
	}
	b.Attempts = kept
}

func (b *budget) last() time.Time {
	if len(b.Attempts) == 0 {
		return time.Time{}
	}
	return b.Attempts[len(b.Attempts)-1]
}

// begin counts an attempt, as one that fails, since a power cut may end it.
func (b *budget) begin(now time.Time) error {
	b.Attempts = append(b.Attempts, now.UTC())
	b.Failures++
	b.Reason = "the last attempt was interrupted"
	return b.write()
}

func (b *budget) succeed() error {
	b.Failures, b.Reason = 0, ""
	return b.write()
}

// fail notes why and returns that.
func (b *budget) fail(reason string, err error) error {
	b.Reason = reason
	return errors.Join(err, b.write())
}

func (b *budget) write() error {
	data, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("count attempt: %w", err)
	}
	if err := durable.WriteFile(b.file, data, 0o600); err != nil {
		return fmt.Errorf("count attempt: %w", err)
	}
	return nil
}
