package daemon

import (
	"cmp"
	"slices"
	"strings"

	"micromirror/packages/rsync/filter"
)

// readRules reads the client's filter rules, all of them also if one cannot be
// taken: a client that is still sending them would not see why.
func (c *conn) readRules(l *filter.List) error {
	var buf []byte
	var refusal error
	taken := int64(0)
	for {
		n := c.r.Bounded(int64(c.r.Int32()), 0, filter.MaxRule, "length of a filter rule")
		if err := c.r.Err(); err != nil {
			return err
		}
		if n == 0 {
			return refusal
		}
		buf = slices.Grow(buf[:0], int(n))[:n]
		c.r.Full(buf)
		if c.r.Err() != nil || refusal != nil {
			continue
		}
		refusal = l.AddWire(string(buf), c.protocol)
		if more := l.Memory() - taken; refusal == nil && more > 0 {
			refusal = c.account.Take(more)
			taken += more
		}
	}
}

// nameSize is what a name takes beside its bytes, in a slice that doubles.
const nameSize = 32

// readNames reads the names of --files-from, relative to the first path.
// Protocol 30 does not put them into frames.
func (c *conn) readNames(paths []string, opts *options) ([]string, error) {
	base := ""
	if len(paths) > 0 {
		base = sanitize(strings.TrimPrefix(paths[0], c.module.Name))
	}
	if base = strings.TrimSuffix(base, "/"); base != "" {
		base += "/"
	}
	if opts.noRelative {
		base = strings.TrimSuffix(base, "./")
	} else {
		base += "./"
	}
	if c.protocol == 30 {
		c.r.StopMultiplex()
		defer c.r.StartMultiplex()
	}
	var names []string
	var refusal error
	for {
		name := ""
		if opts.fromNul {
			name = c.readNul()
		} else {
			name = c.r.Line(maxArg)
		}
		if err := cmp.Or(c.r.Err(), refusal); err != nil && name == "" {
			return nil, err
		}
		switch {
		case name == "":
			return names, nil
		case refusal != nil: // a client that is still sending would not see it
			continue
		}
		refusal = c.account.Take(int64(len(base)+len(name)) + nameSize)
		names = append(names, base+sanitize(name))
	}
}
