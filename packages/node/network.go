package node

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// network validates addresses, gateways and name servers together.
func (d *decoder) network(n *Node, r rawNode) {
	if slices.Contains(r.Addresses, "dhcp") {
		n.DHCP = true
		if len(r.Addresses) > 1 {
			d.bad("addresses", "", `mixes "dhcp" with fixed addresses`, "write one or the other")
		}
		if len(r.Gateways) > 0 {
			d.bad("gateways", "", "is given although addresses is dhcp", "remove it: the gateway comes from the network too")
		}
	} else {
		d.each("addresses", r.Addresses, func(f, s string) { d.address(n, f, s) })
		if len(r.Addresses) == 0 && !d.reported("addresses") {
			d.bad("addresses", "", "is missing", `write ["192.0.2.10/24", "2001:db8::10/64"] or ["dhcp"]`)
		}
		d.each("gateways", r.Gateways, func(f, s string) { d.gateway(n, f, s) })
	}
	d.each("dns", r.DNS, func(f, s string) {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" || unusable(a) != "" {
			d.bad(f, show(s), "is not the address of a name server", "write it like 192.0.2.53")
			return
		}
		n.DNS = append(n.DNS, a)
	})
}

// address accepts one CIDR that an interface can have.
func (d *decoder) address(n *Node, field, s string) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		remedy := "write it like 192.0.2.10/24 or 2001:db8::10/64"
		if a, err := netip.ParseAddr(s); err == nil {
			remedy = fmt.Sprintf("add the length of the subnet, such as %s/%d", a, map[bool]int{true: 24, false: 64}[a.Is4()])
		}
		d.bad(field, show(s), "is not an address with a prefix length", remedy)
		return
	}
	if why := impossible(p); why != "" {
		d.bad(field, show(s), why, "ask the host for the node's own address in this subnet")
		return
	}
	if slices.ContainsFunc(n.Addresses, func(o netip.Prefix) bool { return o.Addr() == p.Addr() }) {
		d.bad(field, show(s), "is given twice with different lengths", "remove one of them")
		return
	}
	n.Addresses = append(n.Addresses, p)
}

// impossible says why no interface can have p, or "". Both addresses of an IPv4
// /31 and an IPv6 /127 are usable (RFC 3021, RFC 6164).
func impossible(p netip.Prefix) string {
	a := p.Addr()
	if why := unusable(a); why != "" {
		return why
	}
	if a.IsLinkLocalUnicast() {
		return "is a link-local address, which every interface has by itself"
	}
	if p.Bits() == 0 {
		return "has a prefix length of 0"
	}
	if a.Is4() && p.Bits() < 31 {
		if a == p.Masked().Addr() {
			return "is the subnet itself, not an address in it"
		}
		if a == broadcast(p) {
			return "is the subnet's broadcast address"
		}
	}
	if a.Is6() && p.Bits() < 127 && a == p.Masked().Addr() {
		return "is the subnet's router anycast address"
	}
	return ""
}

// unusable says why no host can have a as its address, or "".
func unusable(a netip.Addr) string {
	switch {
	case a.Is4In6():
		return "is an IPv4 address written as IPv6"
	case a.IsUnspecified() || a.Is4() && a.As4()[0] == 0:
		return "is not the address of a host"
	case a.IsLoopback():
		return "is a loopback address"
	case a.IsMulticast() || a.Is4() && a.As4()[0] >= 240:
		return "is a multicast or reserved address"
	}
	return ""
}

func broadcast(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// gateway accepts one default route. One that no address has in its subnet needs
// the word onlink; without it it is reported, and on a node used all the same:
// the alternative is a node without a network.
func (d *decoder) gateway(n *Node, field, s string) {
	text, onLink := strings.CutSuffix(s, " onlink")
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" || unusable(a) != "" {
		d.bad(field, show(s), "is not the address of a gateway", "write it like 192.0.2.1 or fe80::1")
		return
	}
	same := slices.DeleteFunc(slices.Clone(n.Addresses), func(p netip.Prefix) bool { return p.Addr().Is4() != a.Is4() })
	if len(same) == 0 {
		d.bad(field, show(s), "has no address of its family in addresses", "add an address of the same family, or remove the gateway")
		return
	}
	if slices.ContainsFunc(n.Gateways, func(g Gateway) bool { return g.Addr.Is4() == a.Is4() }) {
		d.bad(field, show(s), "is a second gateway of its family", "keep one for IPv4 and one for IPv6")
		return
	}
	if reason := conflict(a, same); reason != "" {
		d.bad(field, show(s), reason, "ask the host for the subnet's gateway")
		return
	}
	inside := slices.ContainsFunc(same, func(p netip.Prefix) bool { return p.Contains(a) })
	if !inside && !a.IsLinkLocalUnicast() && !onLink {
		d.bad(field, show(s), "is in the subnet of no address", fmt.Sprintf("correct it, or write %q if it is on the same wire", text+" onlink"))
		onLink = true
	}
	n.Gateways = append(n.Gateways, Gateway{Addr: a, OnLink: onLink})
}

// conflict says why a cannot be the gateway of a node with these addresses.
func conflict(a netip.Addr, own []netip.Prefix) string {
	for _, p := range own {
		if p.Addr() == a {
			return "is the node's own address"
		}
		if a.Is4() && p.Bits() < 31 && p.Contains(a) && (a == p.Masked().Addr() || a == broadcast(p)) {
			return "is the subnet or its broadcast address"
		}
	}
	return ""
}
