package limit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"
)

// Read reads rules from a file; without a file they are Default.
func Read(file string) (Rules, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Default(), nil
	}
	if err != nil {
		return Rules{}, fmt.Errorf("read limits: %w", err)
	}
	return Parse(data)
}

// Parse reads rules from JSON. Unknown keys are left to newer releases.
func Parse(data []byte) (Rules, error) {
	rules := Default()
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&rules); err != nil {
		return Rules{}, fmt.Errorf("read limits: %w", err)
	}
	for name, v := range map[string]float64{
		"connections": float64(rules.Connections), "connections_per_network": float64(rules.ConnectionsPerNetwork),
	} {
		if v < 1 {
			return Rules{}, fmt.Errorf("read limits: %s is %v, use at least 1", name, v)
		}
	}
	if rules.RequestsPerSecond > 0 && rules.Burst < 1 {
		return Rules{}, fmt.Errorf("read limits: burst is %v, use at least 1", rules.Burst)
	}
	return rules, nil
}

// Follow puts the file's rules in force each time it changes, until ctx ends.
func (t *Table) Follow(ctx context.Context, file string, interval time.Duration, log *slog.Logger) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	last := stamp(file)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := stamp(file)
		if now == last {
			continue
		}
		last = now
		rules, err := Read(file)
		if err != nil {
			log.Error("limits not changed", "err", err)
			continue
		}
		t.SetRules(rules)
		log.Info("limits changed", "file", file)
	}
}

// stamp tells one version of a file from another.
func stamp(file string) string {
	info, err := os.Stat(file)
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size())
}
