package bench

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"micromirror/packages/durable"
)

// Progress is what a measurement has done so far, kept in a file: one that is
// interrupted goes on from there, unless what is measured or how has changed.
type Progress[R any] struct {
	Settings string `json:"settings"`
	Rows     []R    `json:"rows"`

	file string
}

// Resume reads how far an earlier run with the same settings has come.
func Resume[R any](file, settings string) (*Progress[R], error) {
	fresh := &Progress[R]{Settings: settings, file: file}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, nil
	}
	if err != nil {
		return nil, fmt.Errorf("resume measurement: %w", err)
	}
	p := Progress[R]{file: file}
	if json.Unmarshal(data, &p) != nil || p.Settings != settings {
		return fresh, nil
	}
	return &p, nil
}

// Add keeps a row.
func (p *Progress[R]) Add(row R) error {
	p.Rows = append(p.Rows, row)
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("keep progress: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(p.file), 0o755); err != nil {
		return fmt.Errorf("keep progress: %w", err)
	}
	return durable.WriteFile(p.file, data, 0o644)
}

// Done forgets the progress: the next run measures everything anew.
func (p *Progress[R]) Done() error { return durable.Remove(p.file) }

// Fingerprint tells one build of a program from another.
func Fingerprint(program string) (string, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return "", fmt.Errorf("fingerprint: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8]), nil
}
