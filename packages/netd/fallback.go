package netd

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"micromirror/packages/durable"
)

// Mode is which configuration is in force.
type Mode string

// The modes. A configuration counts as working once one of its gateways has
// answered; what happens to its gateway later is the network's fault, not its.
const (
	// Configured: what the node file says.
	Configured Mode = "configured"
	// Rescue: the node file's gateway has never answered, and no other
	// configuration has ever worked: DHCP and router advertisements are tried
	// beside it, so that a corrected file can be fetched. Nothing is served, and
	// no certificate asked for, but projects and releases are fetched: this is
	// also how a node fills its disk on the maintainer's bench. The first answer
	// of the node file's own gateway ends it for good.
	Rescue Mode = "rescue"
	// Previous: the node file is new and its gateway does not answer: back to
	// the last one that worked. The new one is tried again now and then.
	Previous Mode = "previous"
)

// Patience of the fallback.
const (
	patience = 3 * time.Minute // with carrier and without answer
	retry    = time.Hour
)

// fallback decides about the mode.
type fallback struct {
	file     string // of the last working configuration; empty for none kept
	patience time.Duration

	given    Config  // by the node file
	working  *Config // the last one that worked
	mode     Mode
	since    time.Time // of carrier without answer, or of the mode Previous
	waiting  bool      // since counts
	answered bool      // the present configuration has worked since start
}

// open reads the last working configuration. One that cannot be read counts as
// none.
func (f *fallback) open() error {
	f.mode = Configured
	if f.file == "" {
		return nil
	}
	b, err := os.ReadFile(f.file)
	if os.IsNotExist(err) {
		return nil
	}
	var c Config
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return fmt.Errorf("last working configuration: %w", err)
	}
	f.working = &c
	return nil
}

// effective is the configuration in force.
func (f *fallback) effective() Config {
	c := f.given
	switch f.mode {
	case Previous:
		// Only what makes addresses goes back.
		c.network(*f.working)
	case Rescue:
		c.Firewall.Serve = nil
	}
	return c
}

// sameNetwork reports whether two configurations make the same addresses.
func sameNetwork(a, b Config) bool {
	pick := func(c Config) (out Config) {
		out.network(c)
		return out
	}
	return reflect.DeepEqual(pick(a), pick(b))
}

// network takes over from another configuration what makes addresses and the
// link that they are on.
func (c *Config) network(from Config) {
	c.DHCP, c.Addresses, c.Gateways, c.DNS = from.DHCP, from.Addresses, from.Gateways, from.DNS
	c.MTU, c.VLAN, c.Bond = from.MTU, from.VLAN, from.Bond
}

// step takes in how things are and reports whether the mode has changed.
func (f *fallback) step(now time.Time, carrier, answered bool) (changed bool, err error) {
	before := f.mode
	if f.mode == Previous {
		if now.Sub(f.since) >= max(retry, 2*f.patience) {
			f.mode, f.waiting = Configured, false
		}
		return f.mode != before, nil
	}
	if answered {
		f.waiting = false
		if !f.answered {
			f.answered = true
			err = f.keep()
		}
		f.mode = Configured
		return f.mode != before, err
	}
	switch {
	case f.answered, !carrier:
		f.waiting = false
	case !f.waiting:
		f.waiting, f.since = true, now
	case now.Sub(f.since) < f.patience:
	case f.working == nil && !f.given.DHCP:
		f.mode = Rescue
	case f.working != nil && !sameNetwork(*f.working, f.given):
		f.mode, f.since = Previous, now
	}
	return f.mode != before, nil
}

// keep remembers the given configuration as one that works.
func (f *fallback) keep() error {
	if f.working != nil && sameNetwork(*f.working, f.given) || f.file == "" {
		return nil
	}
	c := f.given
	f.working = &c
	b, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("keep working configuration: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(f.file), 0o755); err != nil {
		return fmt.Errorf("keep working configuration: %w", err)
	}
	return durable.WriteFile(f.file, b, 0o644)
}
