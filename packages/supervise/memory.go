package supervise

import (
	"encoding/json"
	"errors"
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
	path  string
	write func(path string, b []byte) error

	saving chan struct{} // full while writing, which may hang
	mu     sync.Mutex    // for what follows; never held while writing
	m      remembered
	lost   bool // the last change was refused by the disk
}

type remembered struct {
	// Reboots that the supervisor ordered in a row.
	Reboots int `json:"reboots"`
	// Generation is the newest that was found healthy, and Held are the checks
	// that passed then.
	Generation uint64   `json:"generation"`
	Held       []string `json:"held"`
	// Disk is the GUID of the disk that this is about.
	Disk string `json:"disk,omitempty"`
}

// Remember reads the memory in a directory.
func Remember(dir string) (*Memory, error) {
	m := &Memory{path: filepath.Join(dir, "supervise.json"), write: writeFile, saving: make(chan struct{}, 1)}
	read := make(chan []byte, 1)
	err := Bounded(DiskLimit, func() error {
		b, err := os.ReadFile(m.path)
		read <- b
		return err
	})
	if err == nil {
		err = json.Unmarshal(<-read, &m.m)
	}
	if err != nil {
		m.m = remembered{}
		return m, fmt.Errorf("memory: %w", err)
	}
	m.m.Reboots = max(m.m.Reboots, 0)
	return m, nil
}

// On says which disk the node runs from. On one that was written anew, as by a
// rescue, a node judges as on its first day: neither generations nor what the world
// outside was like are those of before.
func (m *Memory) On(disk string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.m.Disk != "" && m.m.Disk != disk {
		m.m = remembered{}
	}
	m.m.Disk = disk
}

// Counts reports whether a failure of an external check counts against a
// generation: only while it has not been found healthy yet, and if the check
// passed before it came.
func (m *Memory) Counts(generation uint64, check string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.m.Generation != generation && slices.Contains(m.m.Held, check)
}

// New reports whether a generation was never found healthy on this node, while
// another was.
func (m *Memory) New(generation uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.m.Generation != 0 && m.m.Generation != generation
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

// Lost reports whether the disk refused the last change, which will hence be
// forgotten with this boot.
func (m *Memory) Lost() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lost
}

// change writes only what has changed. What is in memory changes at once, and
// the file, if the disk answers in time.
func (m *Memory) change(f func(*remembered)) error {
	m.mu.Lock()
	old := m.m
	f(&m.m)
	same := !m.lost && old.Reboots == m.m.Reboots && old.Generation == m.m.Generation && slices.Equal(old.Held, m.m.Held)
	m.mu.Unlock()
	if same {
		return nil
	}
	err := Bounded(DiskLimit, m.save)
	m.mu.Lock()
	m.lost = err != nil && !errors.Is(err, ErrHung) // that one may still be written
	m.mu.Unlock()
	return err
}

func (m *Memory) save() error {
	m.saving <- struct{}{}
	defer func() { <-m.saving }()
	m.mu.Lock()
	b, err := json.Marshal(m.m)
	m.mu.Unlock()
	if err != nil {
		return err
	}
	return m.write(m.path, b)
}

func writeFile(path string, b []byte) error { return durable.WriteFile(path, b, 0o644) }
