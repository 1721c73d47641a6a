// Package ledger remembers how many bytes each project was asked for in the last
// day, over restarts and reboots.
//
// It counts by hour, so that "a day" is the last 24 hours and not what has passed
// of today. The counts are kept in one file, which is written every few minutes
// and at the end: a power cut costs what was counted since. A file that cannot
// be read is begun anew. Projects are few and named by the node's configuration,
// so nothing here grows.
package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"micromirror/packages/durable"
)

// hours is the length of a day.
const hours = 24

// Ledger holds the counts. Its methods may be called from any goroutine.
type Ledger struct {
	file string
	now  func() time.Time

	mu       sync.Mutex
	projects map[string]*day
	changed  bool
}

// day holds a project's bytes by hour; Hour, counted from the epoch, is the last
// one, in Bytes[Hour%24].
type day struct {
	Hour  int64        `json:"hour"`
	Bytes [hours]int64 `json:"bytes"`
}

// Open reads the file, if there is one.
func Open(file string, now func() time.Time) (*Ledger, error) {
	l := &Ledger{file: file, now: now, projects: map[string]*day{}}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &l.projects)
	}
	for name, d := range l.projects {
		if d == nil {
			delete(l.projects, name)
		}
	}
	if err != nil {
		l.projects = map[string]*day{}
		return l, fmt.Errorf("read ledger: %w", err)
	}
	return l, nil
}

// advance moves a project's day to the present hour.
func (d *day) advance(hour int64) {
	if d.Hour < 0 || hour-d.Hour >= hours || hour < d.Hour-hours {
		*d = day{Hour: hour} // all of it is past, or the clock was wrong
	}
	for d.Hour < hour {
		d.Hour++
		d.Bytes[d.Hour%hours] = 0
	}
}

// hour is the present hour since the epoch, before which no clock is believed.
func (l *Ledger) hour() int64 { return max(0, l.now().Unix()/3600) }

// Add counts bytes that a project was sent for.
func (l *Ledger) Add(project string, bytes int64) {
	hour := l.hour()
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.projects[project]
	if d == nil {
		d = &day{Hour: hour}
		l.projects[project] = d
	}
	d.advance(hour)
	d.Bytes[d.Hour%hours] += bytes
	l.changed = true
}

// Day returns a project's bytes of the last 24 hours.
func (l *Ledger) Day(project string) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.projects[project]
	if d == nil {
		return 0
	}
	d.advance(l.hour())
	var sum int64
	for _, n := range d.Bytes {
		sum += n
	}
	return sum
}

// Save writes the file if anything has changed.
func (l *Ledger) Save() error {
	l.mu.Lock()
	changed := l.changed
	l.changed = false
	data, err := json.Marshal(l.projects)
	l.mu.Unlock()
	if err != nil || !changed {
		return err
	}
	if err := durable.WriteFile(l.file, data, 0o644); err != nil {
		return fmt.Errorf("save ledger: %w", err)
	}
	return nil
}

// Run saves every interval until ctx ends. The last Save is the caller's, when
// nothing is added any more.
func (l *Ledger) Run(ctx context.Context, interval time.Duration, log *slog.Logger) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := l.Save(); err != nil {
			log.Error("bytes served not saved", "err", err)
		}
	}
}
