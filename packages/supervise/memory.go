package supervise

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"micromirror/packages/durable"
)

// Memory is what must survive a reboot. A file that cannot be read counts as
// none: the node then judges as on its first day.
type Memory struct {
	path string

	mu sync.Mutex
	m  remembered
}

type remembered struct {
	// Reboots that the supervisor ordered in a row.
	Reboots int `json:"reboots"`
	// Generation is the newest that was found healthy, and Held are the checks
	// that passed then.
	Generation uint64   `json:"generation"`
	Held       []string `json:"held"`
}

// Remember reads the memory in a directory.
func Remember(dir string) (*Memory, error) {
	m := &Memory{path: filepath.Join(dir, "supervise.json")}
	b, err := os.ReadFile(m.path)
	if err == nil {
		err = json.Unmarshal(b, &m.m)
	}
	if err != nil {
		m.m = remembered{}
		return m, fmt.Errorf("memory: %w", err)
	}
	m.m.Reboots = max(m.m.Reboots, 0)
	return m, nil
}

// Counts reports whether a failure of an external check counts against a
// generation: only while it has not been found healthy yet, and if the check
// passed before it came.
func (m *Memory) Counts(generation uint64, check string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.m.Generation != generation && slices.Contains(m.m.Held, check)
}

// Reboots returns how many reboots in a row the supervisor has ordered.
func (m *Memory) Reboots() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.m.Reboots
}

// Count adds a reboot.
func (m *Memory) Count() error {
	return m.change(func(r *remembered) { r.Reboots++ })
}

// Forget clears the reboots.
func (m *Memory) Forget() error {
	return m.change(func(r *remembered) { r.Reboots = 0 })
}

// Bless notes that a generation is healthy and what holds now.
func (m *Memory) Bless(generation uint64, held []string) error {
	return m.change(func(r *remembered) { r.Generation, r.Held = generation, held })
}

// change writes only what has changed.
func (m *Memory) change(f func(*remembered)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, err := json.Marshal(m.m)
	if err != nil {
		return err
	}
	f(&m.m)
	b, err := json.Marshal(m.m)
	if err != nil || string(b) == string(old) {
		return err
	}
	return durable.WriteFile(m.path, b, 0o644)
}
