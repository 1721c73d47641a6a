// Package status tells how the node's projects are: it merges what the node is
// told to host, the state files that syncd writes durably and the progress files
// that it writes while it works.
//
// It reads <state>/<project>.json and <progress>/<project>.progress.json and
// writes nothing. A project without a state file has
// status "never"; one whose file cannot be read just now stays as it was. A
// status page is never withheld.
// Report is the form of /status.json; fields are only ever added.
package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"micromirror/packages/certificate"
)

// Project is one project in /status.json.
type Project struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Path is where the project is served below the web root; URL is the same
	// as an absolute path, "/debian/".
	Path string `json:"path"`
	URL  string `json:"url"`
	// Status is never, idle, syncing or failed.
	Status string `json:"status"`
	// Serving is false while a half-made publish is being completed; requests
	// below Path then get 503.
	Serving bool `json:"serving"`
	// LastUpdate is when the tree was last brought in step with upstream; the
	// other times are those of the last run and the next planned one.
	LastUpdate   time.Time `json:"last_update,omitzero"`
	LastStarted  time.Time `json:"last_started,omitzero"`
	LastEnded    time.Time `json:"last_ended,omitzero"`
	NextSchedule time.Time `json:"next_schedule,omitzero"`
	Upstream     string    `json:"upstream,omitempty"`
	Size         int64     `json:"size"` // bytes on disk
	Files        int64     `json:"files"`
	Error        string    `json:"error_msg,omitempty"`
	// Stale is that upstream's own content is older than the project's checker
	// allows; BehindSince when upstream's freshness file was first seen to be
	// another than ours; WrongFiles how many of CheckedFiles differed from
	// upstream's at LastCheck; OutOfService why a rule keeps the project back.
	Stale        bool      `json:"stale"`
	BehindSince  time.Time `json:"behind_since,omitzero"`
	LastCheck    time.Time `json:"last_check,omitzero"`
	CheckedFiles int       `json:"checked_files,omitempty"`
	WrongFiles   int       `json:"wrong_files,omitempty"`
	OutOfService string    `json:"out_of_service,omitempty"`
	// ServedDay is the bytes sent in the last 24 hours; Efficiency is that
	// divided by Size.
	ServedDay  int64   `json:"served_day"`
	Efficiency float64 `json:"efficiency"`
	// Freshness is fresh, stale (no update within MaxAge) or unknown.
	Freshness string    `json:"freshness"`
	Progress  *Progress `json:"progress,omitempty"`
}

// Progress is how far a run is; it is there while Status is syncing.
type Progress struct {
	Phase          string  `json:"phase"` // list, plan, fetch, verify, publish, delete
	FilesDone      int64   `json:"files_done"`
	FilesTotal     int64   `json:"files_total"`
	BytesDone      int64   `json:"bytes_done"`
	BytesTotal     int64   `json:"bytes_total"`
	BytesPerSecond float64 `json:"bytes_per_second"`
	ETASeconds     float64 `json:"eta_seconds"`
}

// Report is the body of /status.json.
type Report struct {
	Node     string    `json:"node"`
	Time     time.Time `json:"time"`
	Projects []Project `json:"projects"`
	// Certificate is how the node's certificate for HTTPS is.
	Certificate certificate.Status `json:"certificate"`
}

// Hosted is a project that the node is told to host.
type Hosted struct {
	Name, Title, Path string
	MaxAge            time.Duration // from which it is stale; 0 means DefaultMaxAge
}

// DefaultMaxAge is the age from which a project without a rule of its own is
// stale: two missed daily runs.
const DefaultMaxAge = 50 * time.Hour

// Reader reads the files of one node.
type Reader struct {
	Node        string
	Hosted      []Hosted
	StateDir    string
	ProgressDir string
	Now         func() time.Time
	// Certificate returns how the certificate is; nil where there is no HTTPS.
	Certificate func() certificate.Status
	// Served returns the bytes that a project was sent for in the last 24 hours.
	Served func(project string) int64
}

// Read makes a report of what the files say now; before is the report before
// this one, nil for none. The error joins what could not be read; the report is
// complete without it.
func (r *Reader) Read(before *Report) (Report, error) {
	report := Report{Node: r.Node, Time: r.Now().UTC().Truncate(time.Second), Projects: []Project{}, Certificate: certificate.Status{State: certificate.Off}}
	if r.Certificate != nil {
		report.Certificate = r.Certificate()
	}
	var problems []error
	for _, h := range r.Hosted {
		p := Project{Status: "never", Serving: true}
		err := readJSON(filepath.Join(r.StateDir, h.Name+".json"), &p)
		if problems = append(problems, err); err != nil && before != nil && before.Of(h.Path) != nil {
			p = *before.Of(h.Path)
		}
		p.Name, p.Title, p.Path, p.URL = h.Name, h.Title, h.Path, "/"+h.Path+"/"
		p.Freshness = r.freshness(&p, h.MaxAge)
		p.Progress = nil
		if p.ServedDay = r.Served(h.Name); p.Size > 0 {
			p.Efficiency = float64(p.ServedDay) / float64(p.Size)
		}
		if p.Status == "syncing" {
			var progress Progress
			err := readJSON(filepath.Join(r.ProgressDir, h.Name+".progress.json"), &progress)
			if problems = append(problems, err); err == nil && progress.Phase != "" {
				p.Progress = &progress
			}
		}
		report.Projects = append(report.Projects, p)
	}
	return report, errors.Join(problems...)
}

func (r *Reader) freshness(p *Project, maxAge time.Duration) string {
	if maxAge == 0 {
		maxAge = DefaultMaxAge
	}
	switch {
	case p.LastUpdate.IsZero():
		return "unknown"
	case r.Now().Sub(p.LastUpdate) > maxAge:
		return "stale"
	}
	return "fresh"
}

// readJSON fills v from a file. A missing file is no error: it has not been
// written yet.
func readJSON(file string, v any) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read project state: %w", err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read project state %s: %w", file, err)
	}
	return nil
}
