// Package status keeps what others may know of a project's synchronisation: its
// state, durable, and its progress, volatile. Both are JSON files with one
// writer, syncd:
//
//	/perm/state/syncd/<project>.json          State
//	/run/syncd/<project>.progress.json        Progress, at most twice a second
//
// Readers are httpd (Serving), health, the console and the status page. Fields
// are only ever added. A file that cannot be read counts as that of a project
// that was never synced; it is never an error.
package status

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"micromirror/packages/durable"
)

// Values of State.Status.
const (
	Idle    = "idle"
	Syncing = "syncing"
	Failed  = "failed"
	Never   = "never"
)

// State is what is known of a project's mirror.
type State struct {
	Name   string `json:"name"`
	Title  string `json:"title"`
	Status string `json:"status"`
	// LastUpdate is the start of the newest run whose list is published whole.
	LastUpdate   time.Time `json:"last_update,omitzero"`
	LastStarted  time.Time `json:"last_started,omitzero"`
	LastEnded    time.Time `json:"last_ended,omitzero"`
	NextSchedule time.Time `json:"next_schedule,omitzero"`
	// LastChange is when something was published last.
	LastChange time.Time `json:"last_change,omitzero"`
	// ContentTime is when upstream's tree says that it was made, and Stale that
	// this is longer ago than the project's checker allows.
	ContentTime time.Time `json:"content_time,omitzero"`
	Stale       bool      `json:"stale"`
	// LastCheck is when files were last compared with upstream, CheckedFiles how
	// many, WrongFiles how many of them differed although they should not have,
	// and WrongFile one of them.
	LastCheck    time.Time `json:"last_check,omitzero"`
	CheckedFiles int       `json:"checked_files,omitempty"`
	WrongFiles   int       `json:"wrong_files,omitempty"`
	WrongFile    string    `json:"wrong_file,omitempty"`
	// BehindSince is when upstream's freshness file was first found to be another
	// than the tree's.
	BehindSince time.Time `json:"behind_since,omitzero"`
	Upstream    string    `json:"upstream"`
	Path        string    `json:"path"`
	Size        int64     `json:"size"`
	Files       int64     `json:"files"`
	ErrorMsg    string    `json:"error_msg"`
	// Failures counts failed runs in a row.
	Failures int `json:"failures"`
	// Part and Inconsistent count, since the last whole run, those that ended
	// because upstream did not send files, or because indexes do not fit together.
	Part         Seen `json:"part,omitzero"`
	Inconsistent Seen `json:"inconsistent,omitzero"`
	// Serving is false while the tree may be inconsistent, and while the project's
	// rule takes it out of service: httpd then answers 503 for this project.
	Serving bool `json:"serving"`
	// OutOfService is the rule's reason.
	OutOfService string `json:"out_of_service,omitempty"`
}

// Seen says how often upstream has shown something, and since when.
type Seen struct {
	Runs  int       `json:"runs"`
	Since time.Time `json:"since"`
}

// Again counts another time.
func (s *Seen) Again(now time.Time) {
	if s.Runs++; s.Runs == 1 || s.Since.After(now) {
		s.Since = now
	}
}

// Lasts reports whether it was seen so often, over so long at least.
func (s Seen) Lasts(runs int, least time.Duration, now time.Time) bool {
	return s.Runs >= runs && now.Sub(s.Since) >= least
}

// Progress is where a run is.
type Progress struct {
	Phase          string `json:"phase"`
	FilesDone      int64  `json:"files_done"`
	FilesTotal     int64  `json:"files_total"`
	BytesDone      int64  `json:"bytes_done"`
	BytesTotal     int64  `json:"bytes_total"`
	BytesPerSecond int64  `json:"bytes_per_second"`
	ETASeconds     int64  `json:"eta_seconds"`
}

// Load reads a project's state from dir.
func Load(dir, project string) State {
	s := State{Name: project, Status: Never, Serving: true}
	data, err := os.ReadFile(filepath.Join(dir, project+".json"))
	if err != nil {
		return s
	}
	if err := json.Unmarshal(data, &s); err != nil || s.Name != project {
		return State{Name: project, Status: Never, Serving: true}
	}
	return s
}

// Save writes a project's state to dir, durably.
func (s *State) Save(dir string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = durable.WriteFile(filepath.Join(dir, s.Name+".json"), append(data, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("save state of %s: %w", s.Name, err)
	}
	return nil
}

// Meter writes a project's progress file. It is for one goroutine at a time.
type Meter struct {
	file  string
	now   func() time.Time
	last  time.Time
	phase string
	// The rate is measured over the last one to two windows: since is where it
	// begins, next where it will begin once a window has passed.
	since, next mark
}

// mark is how much was done at some time.
type mark struct {
	at   time.Time
	done int64
}

// window is long enough to even out the pauses between files.
const window = 5 * time.Second

// NewMeter makes the meter of a project whose file lies in dir.
func NewMeter(dir, project string, now func() time.Time) *Meter {
	return &Meter{file: filepath.Join(dir, project+".progress.json"), now: now}
}

// interval is the shortest time between two writes of the same phase.
const interval = 500 * time.Millisecond

// Set publishes p, with rate and remaining time worked out. Writing is best
// effort: progress is for watching only.
func (m *Meter) Set(p Progress) {
	now := m.now()
	if p.Phase != m.phase {
		m.phase, m.since = p.Phase, mark{now, p.BytesDone}
		m.next = m.since
	} else if now.Sub(m.last) < interval {
		return
	}
	m.last = now
	if now.Sub(m.next.at) >= window {
		m.since, m.next = m.next, mark{now, p.BytesDone}
	}
	if d := now.Sub(m.since.at).Seconds(); d > 0 && p.BytesDone > m.since.done {
		p.BytesPerSecond = int64(float64(p.BytesDone-m.since.done) / d)
		p.ETASeconds = (p.BytesTotal - p.BytesDone) / max(p.BytesPerSecond, 1)
	}
	data, err := json.Marshal(p)
	if err != nil {
		return
	}
	temp := m.file + ".tmp"
	if os.WriteFile(temp, append(data, '\n'), 0o644) == nil {
		os.Rename(temp, m.file)
	}
}

// Done removes the progress file.
func (m *Meter) Done() {
	m.phase = ""
	os.Remove(m.file)
}
