// Package firewall decides what reaches the node, and marks what leaves it.
//
// In: what the node asked for itself, ICMP, traceroute's UDP, the served TCP
// ports, and further ports for named prefixes; all else is dropped. The served
// ports are handled without connection tracking, so that no flood of
// connections can fill a table. Out: everything, limited for named prefixes,
// and marked CS1 (scavenger) unless the node's host does not want that.
//
// Promise: Apply replaces the rules as a whole or not at all; packets meet the
// old rules or the new. A list entry that makes no sense, or is so wide that it
// must be a mistake, is left out and reported. A list cannot lock the node out:
// answers to what the node asks for itself, so also corrected lists, and
// neighbour discovery pass before any list is looked at. It cannot open the node
// either: what no rule accepts is dropped whatever the lists say.
//
// Counters survive a replacement.
package firewall

import (
	"fmt"
	"net/netip"
	"slices"
)

// Port is a TCP port that the node serves; its counter bears the name.
type Port struct {
	Number uint16
	Name   string
}

// Limit bounds what is sent to a prefix, all hosts of it together.
type Limit struct {
	Prefix         netip.Prefix
	BytesPerSecond uint64
}

// Config is what to let in and how to mark what goes out.
type Config struct {
	Serve   []Port         // for everyone
	Private []uint16       // for Allow only: metrics and the like
	Allow   []netip.Prefix // who reaches Private
	Block   []netip.Prefix // who reaches nothing
	Limits  []Limit
	Mark    bool // DSCP CS1
}

// Default is a mirror without lists.
func Default(mark bool) Config {
	return Config{Serve: []Port{{80, "http"}, {443, "https"}, {873, "rsync"}}, Mark: mark}
}

// Bounds of lists. No list of ours names a network that is wider than what a
// registry hands out at once.
const (
	widest4    = 8
	widest6    = 16
	maxEntries = 20000
	maxLimits  = 256
	leastLimit = 10 << 10 // bytes a second; less is a block in disguise
)

// Check returns the configuration without what makes no sense, and the reasons.
func (c Config) Check() (Config, []string) {
	var problems []string
	note := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	clean := func(list string, in []netip.Prefix) []netip.Prefix {
		var out []netip.Prefix
		for _, p := range in {
			if why := unusable(p); why != "" {
				note("%s: %v: %s", list, p, why)
				continue
			}
			out = append(out, p.Masked())
		}
		if len(out) > maxEntries {
			note("%s: %d entries, only the first %d count", list, len(out), maxEntries)
			out = out[:maxEntries]
		}
		return merge(out)
	}
	c.Block, c.Allow = clean("block", c.Block), clean("allow", c.Allow)
	var limits []Limit
	for _, l := range c.Limits {
		switch why := unusable(l.Prefix); {
		case why != "":
			note("limit: %v: %s", l.Prefix, why)
		case l.BytesPerSecond < leastLimit:
			note("limit: %v: less than %d bytes a second", l.Prefix, leastLimit)
		case len(limits) == maxLimits:
			note("limit: %v: only %d limits count", l.Prefix, maxLimits)
		default:
			limits = append(limits, Limit{l.Prefix.Masked(), l.BytesPerSecond})
		}
	}
	c.Limits = limits
	return c, problems
}

func unusable(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return "not a prefix"
	case p.Addr().Is4In6():
		return "an IPv4 prefix in IPv6 form"
	case p.Addr().IsLoopback() || p.Addr().IsMulticast() || p.Addr().IsLinkLocalUnicast():
		return "not a network of others"
	case p.Addr().Is4() && p.Bits() < widest4, p.Addr().Is6() && p.Bits() < widest6:
		return "too wide"
	}
	return ""
}

// merge sorts prefixes and drops those that another one holds: the kernel's
// sets refuse overlaps.
func merge(in []netip.Prefix) []netip.Prefix {
	slices.SortFunc(in, netip.Prefix.Compare)
	var out []netip.Prefix
	for _, p := range in {
		if n := len(out); n > 0 && out[n-1].Overlaps(p) {
			continue // the wider one sorts first
		}
		out = append(out, p)
	}
	return out
}
