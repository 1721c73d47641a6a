package http

import (
	"fmt"
	"path/filepath"

	"micromirror/packages/bench"
	"micromirror/packages/durable"
)

// progress is what an interrupted measurement has done.
type progress = bench.Progress[bench.Row]

// resume reads how far an earlier run of the same server with the same settings
// has come. What is asked for by hand is always measured.
func resume(c *Config) (*progress, error) {
	server, err := bench.Fingerprint(c.Server)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(c.Scratch, "progress.json")
	if c.Only != "" {
		file = filepath.Join(c.Scratch, "only.json")
		if err := durable.Remove(file); err != nil {
			return nil, fmt.Errorf("forget %s: %w", file, err)
		}
	}
	return bench.Resume[bench.Row](file, fmt.Sprintf("server %s, %d rounds, %d seconds", server, c.Rounds, c.Seconds))
}

// find returns the row of a work that has been done, or nil.
func find(p *progress, work string) *bench.Row {
	for i := range p.Rows {
		if p.Rows[i].Work == work {
			return &p.Rows[i]
		}
	}
	return nil
}
