package clock

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"micromirror/packages/durable"
)

// last is what survives a power cut.
type last struct {
	Time      time.Time `json:"time"`
	Frequency float64   `json:"frequency_ppm"`
}

// maxFrequency is what the kernel corrects at most; more is a damaged file.
const maxFrequency = 500

// restore sets the floor and the frequency from the last run.
func (k *keeper) restore() error {
	k.floor = k.Built
	b, err := os.ReadFile(filepath.Join(k.State, "last.json"))
	if err != nil {
		return err
	}
	var l last
	if err := json.Unmarshal(b, &l); err != nil {
		return fmt.Errorf("last.json: %w", err)
	}
	if l.Time.After(k.floor) && l.Time.Before(k.Built.Add(horizon)) {
		k.floor = l.Time
	}
	if l.Frequency < -maxFrequency || l.Frequency > maxFrequency {
		return fmt.Errorf("last.json: frequency %v is impossible", l.Frequency)
	}
	return k.System.SetFrequency(l.Frequency)
}

// save keeps the time, if it has come from a server, and tells it to the
// battery clock.
func (k *keeper) save() {
	if k.report.Last.IsZero() {
		return
	}
	k.saved = k.System.Now()
	if err := k.System.SetHardware(k.saved); err != nil {
		k.Log.Warn("battery clock not set", "err", err)
	}
	l := last{Time: k.saved.UTC()}
	var err error
	if l.Frequency, err = k.System.Frequency(); err != nil {
		k.Log.Warn("clock frequency", "err", err)
	}
	b, err := json.Marshal(l)
	if err == nil {
		err = durable.WriteFile(filepath.Join(k.State, "last.json"), b, 0o644)
	}
	if err != nil {
		k.Log.Warn("time last seen not kept", "err", err)
	}
}

// publish replaces clock.json, which is in memory and needs no sync.
func (k *keeper) publish() {
	b, err := json.MarshalIndent(k.report, "", "\t")
	path := filepath.Join(k.Run, "clock.json")
	if err == nil {
		err = os.WriteFile(path+".tmp", append(b, '\n'), 0o644)
	}
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		k.Log.Warn("clock report", "err", err)
	}
}
