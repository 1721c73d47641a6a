package http

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"micromirror/packages/bench"
	"micromirror/packages/durable"
)

// progress is what an interrupted measurement has done: it goes on from there if
// server and settings are the same.
type progress struct {
	Server  string      `json:"server"` // SHA-256 of the program
	Rounds  int         `json:"rounds"`
	Seconds int         `json:"seconds"`
	Rows    []bench.Row `json:"rows"`

	file string
}

// resume reads how far an earlier run with the same settings has come.
func resume(c *Config) (*progress, error) {
	program, err := os.ReadFile(c.Server)
	if err != nil {
		return nil, fmt.Errorf("resume: %w", err)
	}
	sum := sha256.Sum256(program)
	fresh := &progress{
		Server: hex.EncodeToString(sum[:]), Rounds: c.Rounds, Seconds: c.Seconds,
		file: filepath.Join(c.Scratch, "progress.json"),
	}
	if c.Only != "" { // asked for by hand: always measured
		fresh.file = filepath.Join(c.Scratch, "only.json")
		return fresh, nil
	}
	data, err := os.ReadFile(fresh.file)
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, nil
	}
	if err != nil {
		return nil, fmt.Errorf("resume: %w", err)
	}
	p := progress{file: fresh.file}
	if json.Unmarshal(data, &p) != nil || p.Server != fresh.Server || p.Rounds != c.Rounds || p.Seconds != c.Seconds {
		return fresh, nil
	}
	return &p, nil
}

// find returns the row of a work that has been done, or nil.
func (p *progress) find(work string) *bench.Row {
	for i := range p.Rows {
		if p.Rows[i].Work == work {
			return &p.Rows[i]
		}
	}
	return nil
}

// add keeps a row.
func (p *progress) add(r bench.Row) error {
	p.Rows = append(p.Rows, r)
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("keep progress: %w", err)
	}
	return durable.WriteFile(p.file, data, 0o644)
}

// done forgets the progress: the next run measures everything anew.
func (p *progress) done() error { return durable.Remove(p.file) }
