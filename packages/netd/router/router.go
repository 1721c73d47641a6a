// Package router learns an IPv6 network from router advertisements.
//
// Table holds what routers have said, with lifetimes, and Client fills it from
// the network: it solicits when a link comes up, listens, and tells its caller
// whenever something changed or ran out. It follows RFC 4861 (routers,
// prefixes, MTU), RFC 4862 (address lifetimes, with the two-hour rule, so that
// a forged advertisement cannot take an address away), RFC 4191 (preference)
// and RFC 8106 (name servers).
//
// Everything heard is bounded: anyone on the link can send advertisements. Only
// those from a link-local address that no router forwarded count.
package router

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/mdlayher/ndp"
)

// Bounds of the table. What comes in excess is ignored until something runs out.
const (
	maxRouters  = 16
	maxPrefixes = 16
	maxServers  = 8
	minMTU      = 1280
)

// twoHours protects addresses from forged short lifetimes (RFC 4862, 5.5.3).
const twoHours = 2 * time.Hour

// Router is a default router.
type Router struct {
	Addr       netip.Addr
	Preference ndp.Preference
	Until      time.Time
}

// Prefix is a network on the link.
type Prefix struct {
	Prefix           netip.Prefix
	OnLink           bool // its hosts are reached directly
	Auto             bool // hosts make themselves an address in it
	Valid, Preferred time.Time
}

// State is a picture of the network, best routers first.
type State struct {
	Routers  []Router
	Prefixes []Prefix
	DNS      []netip.Addr
	MTU      int // 0: no router says anything
}

type server struct {
	from  netip.Addr
	until time.Time
}

// Table is what routers have said. The zero value is empty.
type Table struct {
	routers  map[netip.Addr]Router
	prefixes map[netip.Prefix]Prefix
	servers  map[netip.Addr]server
	mtu      int
}

// Update adds an advertisement.
func (t *Table) Update(now time.Time, from netip.Addr, ra *ndp.RouterAdvertisement) {
	from = from.WithZone("")
	if !from.Is6() || !from.IsLinkLocalUnicast() {
		return
	}
	t.Expire(now)
	put(&t.routers, from, Router{Addr: from, Preference: ra.RouterSelectionPreference, Until: now.Add(ra.RouterLifetime)}, maxRouters, ra.RouterLifetime > 0)
	for _, o := range ra.Options {
		switch o := o.(type) {
		case *ndp.PrefixInformation:
			t.prefix(now, o)
		case *ndp.RecursiveDNSServer:
			for _, addr := range o.Servers {
				usable := addr.Is6() && !addr.IsUnspecified() && !addr.IsMulticast() && !addr.IsLoopback() && !addr.Is4In6()
				put(&t.servers, addr, server{from: from, until: now.Add(o.Lifetime)}, maxServers, usable && o.Lifetime > 0)
			}
		case *ndp.MTU:
			if o.MTU >= minMTU && o.MTU <= 65535 {
				t.mtu = int(o.MTU)
			}
		}
	}
}

// put stores or, unless keep, removes an entry, within a bound.
func put[K comparable, V any](m *map[K]V, k K, v V, limit int, keep bool) {
	if *m == nil {
		*m = map[K]V{}
	}
	_, known := (*m)[k]
	switch {
	case !keep:
		delete(*m, k)
	case known || len(*m) < limit:
		(*m)[k] = v
	}
}

func (t *Table) prefix(now time.Time, o *ndp.PrefixInformation) {
	key := netip.PrefixFrom(o.Prefix, int(o.PrefixLength)).Masked()
	a := key.Addr()
	if !key.IsValid() || !a.Is6() || a.Is4In6() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsLoopback() || key.Bits() == 0 {
		return
	}
	if o.PreferredLifetime > o.ValidLifetime {
		return
	}
	old, known := t.prefixes[key]
	p := Prefix{
		Prefix: key, OnLink: o.OnLink || known && old.OnLink, Auto: o.AutonomousAddressConfiguration && key.Bits() == 64,
		Valid: now.Add(o.ValidLifetime), Preferred: now.Add(o.PreferredLifetime),
	}
	if known && old.Auto {
		p.Auto = true
		p.Valid = shorten(now, old.Valid, p.Valid)
	}
	put(&t.prefixes, key, p, maxPrefixes, p.Valid.After(now))
}

// shorten applies the two-hour rule to a new end of validity.
func shorten(now, old, next time.Time) time.Time {
	floor := now.Add(twoHours)
	switch {
	case next.After(floor) || next.After(old):
		return next
	case old.After(floor):
		return floor
	default:
		return old
	}
}

// Expire forgets what has run out and returns when the next thing will, or the
// zero time if nothing will. It reports whether it forgot anything.
func (t *Table) Expire(now time.Time) (next time.Time, changed bool) {
	n := len(t.routers) + len(t.prefixes) + len(t.servers)
	live := func(until time.Time) bool {
		if !until.After(now) {
			return false
		}
		if next.IsZero() || until.Before(next) {
			next = until
		}
		return true
	}
	maps.DeleteFunc(t.routers, func(_ netip.Addr, r Router) bool { return !live(r.Until) })
	maps.DeleteFunc(t.prefixes, func(_ netip.Prefix, p Prefix) bool { return !live(p.Valid) })
	maps.DeleteFunc(t.servers, func(_ netip.Addr, s server) bool { return !live(s.until) })
	return next, n != len(t.routers)+len(t.prefixes)+len(t.servers)
}

// State returns the table in a stable order.
func (t *Table) State() State {
	return State{
		Routers: slices.SortedFunc(maps.Values(t.routers), func(a, b Router) int {
			return cmp.Or(Rank(a.Preference)-Rank(b.Preference), a.Addr.Compare(b.Addr))
		}),
		Prefixes: slices.SortedFunc(maps.Values(t.prefixes), func(a, b Prefix) int { return a.Prefix.Compare(b.Prefix) }),
		DNS:      slices.SortedFunc(maps.Keys(t.servers), netip.Addr.Compare),
		MTU:      t.mtu,
	}
}

// Rank orders router preferences, 0 best; the reserved value counts as medium.
func Rank(p ndp.Preference) int {
	switch p {
	case ndp.High:
		return 0
	case ndp.Low:
		return 2
	default:
		return 1
	}
}

// EUI64 returns the address that a port with the given MAC has in a /64.
func EUI64(p netip.Prefix, mac []byte) (netip.Addr, bool) {
	if len(mac) != 6 || p.Bits() != 64 || !p.Addr().Is6() {
		return netip.Addr{}, false
	}
	a := p.Masked().Addr().As16()
	copy(a[8:], []byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	return netip.AddrFrom16(a), true
}
