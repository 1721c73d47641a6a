package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Table is the name of the node's table.
const Table = "micromirror"

// Names of counters beside those of the served ports.
const (
	blocked = "blocked" // came from a blocked prefix
	dropped = "dropped" // no rule accepted it
	limited = "limited" // exceeded a prefix's rate on its way out
	marked  = "marked"  // left with a mark
)

// Counter is how much met a rule.
type Counter struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Firewall is the kernel's packet filter of one network namespace.
type Firewall struct {
	options []nftables.ConnOption
	rules   int
}

// Rules is how many rules the last Apply made.
func (f *Firewall) Rules() int { return f.rules }

// transaction bounds the size of all rules together; 20,000 prefixes are 1.6 MB.
const transaction = 8 << 20

// New returns the firewall of the own namespace.
func New(options ...nftables.ConnOption) *Firewall {
	return &Firewall{options: append(options, nftables.WithSockOptions(largeBuffer))}
}

// largeBuffer lets one message hold a whole transaction; CAP_NET_ADMIN may go
// beyond the system's limit.
func largeBuffer(c *netlink.Conn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, transaction)
	})
	return errors.Join(err, set)
}

// batch is a set of rules in the making.
type batch struct {
	conn  *nftables.Conn
	table *nftables.Table
	rules int
}

// Apply replaces the rules by those of a checked configuration.
func (f *Firewall) Apply(c Config) error {
	counters, err := f.Counters()
	if err != nil {
		return err
	}
	conn, err := nftables.New(f.options...)
	if err != nil {
		return fmt.Errorf("firewall: %w", err)
	}
	b := &batch{conn: conn, table: &nftables.Table{Family: nftables.TableFamilyINet, Name: Table}}
	// Deleting needs something to delete; all this is one transaction.
	conn.AddTable(b.table)
	conn.DelTable(b.table)
	conn.AddTable(b.table)
	b.counters(c, counters)
	sets, err := b.sets(c)
	if err != nil {
		return fmt.Errorf("firewall: %w", err)
	}
	b.untracked(c)
	b.input(c, sets)
	b.output(c)
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("firewall: replace rules: %w", err)
	}
	f.rules = b.rules
	return nil
}

// counters makes the named counters, with what they had.
func (b *batch) counters(c Config, had map[string]Counter) {
	names := []string{blocked, dropped, limited, marked}
	for _, p := range c.Serve {
		names = append(names, p.Name)
	}
	for _, name := range names {
		b.conn.AddObj(&nftables.CounterObj{Table: b.table, Name: name, Packets: had[name].Packets, Bytes: had[name].Bytes})
	}
}

func count(name string) expr.Any {
	return &expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: name}
}

// lists are the sets of one configuration by name: block4, block6, allow4, …
type lists map[string]*nftables.Set

func (b *batch) sets(c Config) (lists, error) {
	out := lists{}
	for name, prefixes := range map[string][]netip.Prefix{"block": c.Block, "allow": c.Allow} {
		for _, v4 := range []bool{true, false} {
			s := &nftables.Set{Table: b.table, Name: setName(name, v4), Interval: true, KeyType: nftables.TypeIP6Addr}
			if v4 {
				s.KeyType = nftables.TypeIPAddr
			}
			if err := b.conn.AddSet(s, nil); err != nil {
				return nil, fmt.Errorf("set %s: %w", s.Name, err)
			}
			// The library makes one message of each call; one has 64 KiB.
			for chunk := range slices.Chunk(elements(prefixes, v4), 500) {
				if err := b.conn.SetAddElements(s, chunk); err != nil {
					return nil, fmt.Errorf("set %s: %w", s.Name, err)
				}
			}
			out[s.Name] = s
		}
	}
	return out, nil
}

func setName(list string, v4 bool) string {
	if v4 {
		return list + "4"
	}
	return list + "6"
}

// elements are the bounds of intervals. One that reaches the last address has
// no upper bound.
func elements(prefixes []netip.Prefix, v4 bool) []nftables.SetElement {
	var out []nftables.SetElement
	for _, p := range prefixes {
		if p.Addr().Is4() != v4 {
			continue
		}
		out = append(out, nftables.SetElement{Key: p.Addr().AsSlice()})
		if end := after(p); end.IsValid() {
			out = append(out, nftables.SetElement{Key: end.AsSlice(), IntervalEnd: true})
		}
	}
	return out
}

// after is the first address behind a prefix, or none.
func after(p netip.Prefix) netip.Addr {
	last := p.Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(last)
	return a.Next()
}

func (b *batch) chain(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority, policy nftables.ChainPolicy) func(parts ...[]expr.Any) {
	c := b.conn.AddChain(&nftables.Chain{Name: name, Table: b.table, Type: kind, Hooknum: hook, Priority: priority, Policy: &policy})
	return func(parts ...[]expr.Any) {
		b.rules++
		b.conn.AddRule(&nftables.Rule{Table: b.table, Chain: c, Exprs: slices.Concat(parts...)})
	}
}

func then(e ...expr.Any) []expr.Any { return e }

// untracked keeps the served connections out of the connection table.
func (b *batch) untracked(c Config) {
	for name, at := range map[string]struct {
		hook  *nftables.ChainHook
		place uint32
	}{"untracked_in": {nftables.ChainHookPrerouting, destPort}, "untracked_out": {nftables.ChainHookOutput, sourcePort}} {
		rule := b.chain(name, nftables.ChainTypeFilter, at.hook, nftables.ChainPriorityRaw, nftables.ChainPolicyAccept)
		for _, p := range c.Serve {
			rule(tcpPort(at.place, p.Number), then(&expr.Notrack{}))
		}
	}
}

func (b *batch) input(c Config, sets lists) {
	rule := b.chain("input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter, nftables.ChainPolicyDrop)
	accept := then(verdict(expr.VerdictAccept))
	rule(meta(expr.MetaKeyIIFTYPE, []byte{unix.ARPHRD_LOOPBACK & 0xff, unix.ARPHRD_LOOPBACK >> 8}), accept)
	rule(own(), accept)
	rule(protocol(unix.IPPROTO_ICMPV6), accept)
	for _, v4 := range []bool{true, false} {
		rule(in(sets[setName("block", v4)], v4, true), then(count(blocked), verdict(expr.VerdictDrop)))
	}
	rule(protocol(unix.IPPROTO_ICMP), accept)
	rule(traceroute(), accept)
	for _, p := range c.Serve {
		rule(tcpPort(destPort, p.Number), then(count(p.Name)), accept)
	}
	for _, port := range c.Private {
		for _, v4 := range []bool{true, false} {
			rule(in(sets[setName("allow", v4)], v4, true), tcpPort(destPort, port), accept)
		}
	}
	rule(then(count(dropped)))
}

func (b *batch) output(c Config) {
	rule := b.chain("output", nftables.ChainTypeFilter, nftables.ChainHookOutput, nftables.ChainPriorityMangle, nftables.ChainPolicyAccept)
	rule(meta(expr.MetaKeyOIFTYPE, []byte{unix.ARPHRD_LOOPBACK & 0xff, unix.ARPHRD_LOOPBACK >> 8}), then(verdict(expr.VerdictAccept)))
	for _, l := range c.Limits {
		rule(to(l.Prefix), then(over(l.BytesPerSecond), count(limited), verdict(expr.VerdictDrop)))
	}
	if c.Mark {
		for _, v4 := range []bool{true, false} {
			rule(mark(v4), then(count(marked)))
		}
	}
}

// Counters reads the counters; before the first Apply there are none.
func (f *Firewall) Counters() (map[string]Counter, error) {
	conn, err := nftables.New(f.options...)
	if err != nil {
		return nil, fmt.Errorf("firewall: %w", err)
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("firewall: list tables: %w", err)
	}
	out := map[string]Counter{}
	i := slices.IndexFunc(tables, func(t *nftables.Table) bool { return t.Name == Table })
	if i < 0 {
		return out, nil
	}
	objects, err := conn.GetObjects(tables[i])
	if err != nil {
		return nil, fmt.Errorf("firewall: read counters: %w", err)
	}
	for _, o := range objects {
		if c, ok := o.(*nftables.CounterObj); ok {
			out[c.Name] = Counter{Packets: c.Packets, Bytes: c.Bytes}
		}
	}
	return out, nil
}
