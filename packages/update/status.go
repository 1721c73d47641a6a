package update

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Status is the status file, which the health checks and the console read.
type Status struct {
	State     State     `json:"state"`
	Version   string    `json:"version"`          // that runs
	Target    string    `json:"target,omitempty"` // that State is about
	Sequence  uint64    `json:"sequence,omitempty"`
	LastCheck time.Time `json:"last_check,omitzero"` // that succeeded
	Error     string    `json:"error_msg,omitempty"`
	// Expired says that the error is about metadata that must be renewed.
	Expired bool `json:"expired,omitempty"`
}

// status says what the updater is doing.
func (u *Updater) status() Status {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := Status{State: u.saved.State, Version: u.Self.Version, Target: u.saved.Version, Sequence: u.saved.Sequence,
		LastCheck: u.lastCheck, Error: u.problem, Expired: strings.Contains(u.problem, ErrExpired.Error())}
	if u.phase != "" {
		s.State, s.Target = u.phase, u.target
	}
	if s.State == Idle {
		s.Target = ""
	}
	if u.Off != "" {
		s.Error = "off, " + u.Off
	}
	return s
}

// tell writes the status file, which is volatile.
func (u *Updater) tell() {
	b, err := json.Marshal(u.status())
	if err == nil {
		tmp := u.Status + ".tmp"
		if err = os.MkdirAll(filepath.Dir(u.Status), 0o755); err == nil {
			err = os.WriteFile(tmp, b, 0o644)
		}
		if err == nil {
			err = os.Rename(tmp, u.Status)
		}
	}
	if err != nil {
		u.Log.Error("update status", "err", err)
	}
}

// enter sets the volatile phase.
func (u *Updater) enter(phase State, target string) {
	u.mu.Lock()
	u.phase, u.target = phase, target
	u.mu.Unlock()
	u.tell()
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "; ") }
