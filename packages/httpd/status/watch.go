package status

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
)

// Watch keeps the latest report at hand, so that requests cost no file access.
type Watch struct {
	reader *Reader
	last   string // what could not be read
	report atomic.Pointer[Report]
}

// NewWatch reads the first report.
func NewWatch(reader *Reader, log *slog.Logger) *Watch {
	w := &Watch{reader: reader}
	w.refresh(log)
	return w
}

// Run reads the files again every interval until ctx ends.
func (w *Watch) Run(ctx context.Context, interval time.Duration, log *slog.Logger) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.refresh(log)
		}
	}
}

func (w *Watch) refresh(log *slog.Logger) {
	report, err := w.reader.Read(w.report.Load())
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	if problem != "" && problem != w.last { // once, not every time
		log.Warn("project state unreadable", "err", err)
	}
	w.last = problem
	w.report.Store(&report)
}

// Report returns the latest report.
func (w *Watch) Report() *Report { return w.report.Load() }

// Of finds the project that holds the cleaned name, nil where none does.
func (r *Report) Of(name string) *Project {
	for i := range r.Projects {
		p := &r.Projects[i]
		if rest, ok := strings.CutPrefix(name, p.Path); ok && (rest == "" || rest[0] == '/') {
			return p
		}
	}
	return nil
}
