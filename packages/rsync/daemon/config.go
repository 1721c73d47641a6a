package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"micromirror/packages/rsync/filter"
)

// Config is what a server offers and to whom.
type Config struct {
	Modules []Module
	MOTD    string // shown to every client, without the last newline

	MaxConns     int // at a time, 0 = 200
	MaxPerPrefix int // of them from one /24 or /48, 0 = a quarter of MaxConns
	Access       Access

	Timeout   time.Duration // without any data, 0 = 10 minutes
	Handshake time.Duration // for all up to the arguments, 0 = 30 seconds; ten times as much for rules and names
	Grace     time.Duration // for transfers under way when the server stops, 0 = 5 seconds
	ScanWait  time.Duration // for a new list, before the old one is served, 0 = 10 seconds

	// Memory is what all clients together may take for what they describe, beyond
	// 256 KiB each: rules, lists with many gaps, sums of old versions. 0 = 64 MiB.
	Memory int64

	Refuse []string // options, by their long names, with wildcards
	Log    *slog.Logger
}

// Module is a directory that clients can pull.
type Module struct {
	Name    string
	Comment string
	Path    string   // of the directory
	Exclude []string // patterns, as in rsyncd.conf
	Hidden  bool     // not in the list of modules
	// Unreadable offers also what not everybody may read.
	Unreadable bool
	MaxConns   int // 0 = no limit of its own
	Access     Access

	// Generation names the state of the tree: as long as it is the same, one
	// list serves all. Nil means that the tree is read for each connection.
	Generation func() (string, error)

	// Steady calls read when nothing of the tree is being replaced, and again if
	// something was meanwhile; nil means that it may always be read.
	Steady func(ctx context.Context, read func() error) error
	// Older opens the version of a file that had this size and time, for clients
	// whose list is older than the tree; nil means that there are none. Without it
	// such a client gets the file as it is now, as from rsync.
	Older func(path string, size, sec int64, nsec uint32) (fd int, err error)
}

// Access says which addresses may connect: those that Allow holds, or all if it
// is empty, but none that Deny holds.
type Access struct{ Allow, Deny []netip.Prefix }

func (a Access) permits(addr netip.Addr) bool {
	in := func(list []netip.Prefix) bool {
		for _, p := range list {
			if p.Contains(addr) {
				return true
			}
		}
		return false
	}
	return (len(a.Allow) == 0 || in(a.Allow)) && !in(a.Deny)
}

func (c *Config) setDefaults() {
	for _, d := range []struct{ value, to *time.Duration }{
		{&c.Timeout, new(10 * time.Minute)}, {&c.Handshake, new(30 * time.Second)},
		{&c.Grace, new(5 * time.Second)}, {&c.ScanWait, new(10 * time.Second)},
	} {
		if *d.value == 0 {
			*d.value = *d.to
		}
	}
	if c.MaxConns == 0 {
		c.MaxConns = 200
	}
	if c.MaxPerPrefix == 0 {
		c.MaxPerPrefix = max(c.MaxConns/4, 1)
	}
	if c.Memory == 0 {
		c.Memory = 64 << 20
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// excludes compiles a module's excludes and checks its name.
func (m *Module) excludes() (*filter.List, error) {
	if m.Name == "" || m.Path == "" || strings.ContainsAny(m.Name, "/\n\r\t ") || m.Name[0] == '#' {
		return nil, fmt.Errorf("module %q: %w", m.Name, errors.New("name or path is missing or invalid"))
	}
	l := new(filter.List)
	for _, p := range m.Exclude {
		if err := l.ExcludeModule(p); err != nil {
			return nil, fmt.Errorf("module %s: %w", m.Name, err)
		}
	}
	return l, nil
}
