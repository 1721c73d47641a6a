package update

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"micromirror/packages/durable"
	"micromirror/packages/slot"
)

// State is what the updater is doing.
type State string

// The states. Trial, Good and Failed are about the release that runs or ran last.
const (
	Idle        State = "idle"
	Checking    State = "checking"
	Downloading State = "downloading"
	Installing  State = "installing"
	Waiting     State = "waiting" // installed; the reboot waits for the maintenance window
	Rebooting   State = "rebooting"
	Trial       State = "trial"
	Good        State = "good"
	Failed      State = "failed"
)

// Saved is what must survive a reboot: update.json. Releases roll back, so each
// must read what another has written: fields are only ever added, those that this
// release does not know are kept as they are, and a value of an unknown form
// counts as absent.
type Saved struct {
	State State `json:"state"`
	// Version is the release that State is about, Slot and Generation where it
	// was or will be put, and From what ran before.
	Version    string    `json:"version,omitempty"`
	Slot       slot.Name `json:"slot,omitempty"`
	Generation uint64    `json:"generation,omitempty"`
	From       string    `json:"from,omitempty"`
	// Emergency says that no maintenance window is waited for.
	Emergency bool `json:"emergency,omitempty"`
	// Boot names the boot in which State was written.
	Boot string `json:"boot,omitempty"`
	// Lost counts how often the boot entry of Version vanished.
	Lost int `json:"lost,omitempty"`
	// Reason is why the trial was given up, as the release on trial saw it.
	Reason string `json:"reason,omitempty"`
	// Disk is the GUID of the disk whose slots the fields above are about.
	Disk string `json:"disk,omitempty"`
	// Sequence is the highest decision seen.
	Sequence uint64 `json:"sequence,omitempty"`
	// Seen is the latest time that was known to be right.
	Seen time.Time `json:"seen,omitzero"`
	// Bad are the releases that failed their trial here, latest last.
	Bad []Failure `json:"failed,omitempty"`
	// Config is about the configuration that came over the air.
	Config SavedConfig `json:"config,omitzero"`

	unknown map[string]json.RawMessage
}

// entry finds the boot entry of the installation that the state is about. The slot
// may still have an older one of the same release. Generation 0 is not known:
// earlier releases wrote it down only after the entry.
func (s Saved) entry(entries []slot.Entry) (slot.Entry, bool) {
	i := slices.IndexFunc(entries, func(e slot.Entry) bool {
		return e.Slot == s.Slot && e.Release == s.Version && (s.Generation == 0 || e.Generation == s.Generation)
	})
	if i < 0 {
		return slot.Entry{}, false
	}
	return entries[i], true
}

// Failure is a release or configuration that failed its trial.
type Failure struct {
	Version  string    `json:"version"` // or the hash of a configuration
	Reason   string    `json:"reason"`
	Sequence uint64    `json:"sequence,omitempty"` // of the decision that was obeyed
	Time     time.Time `json:"time"`
	Count    int       `json:"count"`
}

// SavedConfig is the part of Saved about the configuration.
type SavedConfig struct {
	Applied string    `json:"applied,omitempty"` // hash of the set of files that runs
	Bad     []Failure `json:"failed,omitempty"`
}

// maxFailures bounds what is remembered.
const maxFailures = 20

// failed remembers a failure.
func failed(list []Failure, f Failure) []Failure {
	for _, old := range list {
		if old.Version == f.Version {
			f.Count = old.Count
		}
	}
	f.Count++
	list = slices.DeleteFunc(slices.Clone(list), func(o Failure) bool { return o.Version == f.Version })
	return append(list[max(0, len(list)+1-maxFailures):], f)
}

func find(list []Failure, version string) (Failure, bool) {
	i := slices.IndexFunc(list, func(f Failure) bool { return f.Version == version })
	if i < 0 {
		return Failure{}, false
	}
	return list[i], true
}

// Load reads the state in a file. The state is usable even with an error.
func Load(file string) (Saved, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Saved{State: Idle}, nil
	}
	if err != nil {
		return Saved{State: Idle}, fmt.Errorf("update state: %w", err)
	}
	s, err := parseSaved(b)
	if err != nil {
		return s, fmt.Errorf("update state %s: %w", file, err)
	}
	return s, nil
}

// parseSaved reads each field by itself: one that another release writes in an
// unknown form costs that field only.
func parseSaved(b []byte) (Saved, error) {
	s := Saved{State: Idle}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return s, err
	}
	var problems []error
	for name, field := range s.fields() {
		value, ok := raw[name]
		if !ok {
			continue
		}
		before := s
		if err := json.Unmarshal(value, field); err != nil {
			s = before
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
			continue
		}
		delete(raw, name)
	}
	s.unknown = raw
	return s, errors.Join(problems...)
}

// fields are where the values go.
func (s *Saved) fields() map[string]any {
	return map[string]any{
		"state": &s.State, "version": &s.Version, "slot": &s.Slot, "generation": &s.Generation, "from": &s.From,
		"emergency": &s.Emergency, "boot": &s.Boot, "reason": &s.Reason, "sequence": &s.Sequence, "seen": &s.Seen,
		"disk": &s.Disk, "lost": &s.Lost, "failed": &s.Bad, "config": &s.Config,
	}
}

// on returns the state for a disk. On one that was written anew since, as by a
// rescue, what was in the slots is no failure; what was seen before still counts.
func (s Saved) on(disk string) Saved {
	if s.Disk != "" && s.Disk != disk {
		s.State, s.Version, s.Slot, s.Generation, s.From, s.Emergency, s.Lost, s.Reason = Idle, "", "", 0, "", false, 0, ""
	}
	s.Disk = disk
	return s
}

// marshal returns the file's content, with what other releases wrote.
func (s Saved) marshal() ([]byte, error) {
	own, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(s.unknown)
	if all == nil {
		all = map[string]json.RawMessage{}
	}
	if err := json.Unmarshal(own, &all); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(all, "", "  ")
	return append(b, '\n'), err
}

// store writes the state, if it has changed.
func (s Saved) store(file string) error {
	b, err := s.marshal()
	if err != nil {
		return fmt.Errorf("update state: %w", err)
	}
	if old, err := os.ReadFile(file); err == nil && string(old) == string(b) {
		return nil
	}
	if err := durable.WriteFile(file, b, 0o644); err != nil {
		return fmt.Errorf("update state: %w", err)
	}
	return nil
}
