package netd

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"micromirror/packages/netd/dhcp"
	"micromirror/packages/netd/router"
)

// Source is where a part of the configuration comes from.
type Source string

// The sources; names appear in the state file.
const (
	Static Source = "static"
	DHCP   Source = "dhcp"
	Router Source = "ra"
)

// Route metrics, lower is preferred. Gateways of one source follow each other;
// one that does not answer is moved behind all others.
const (
	metricStatic  = 100
	metricDHCP    = 512
	metricRouter  = 1024
	metricPenalty = 4096
)

// address is one that the uplink should have.
type address struct {
	prefix netip.Prefix
	source Source
	// End of validity and of preference; zero means never. The kernel counts
	// them down for IPv6.
	valid, preferred time.Time
	// host suppresses the kernel's route to the prefix: a router has not said
	// that its hosts are on this link.
	host bool
}

// route is one that the uplink should have. An invalid gateway means that the
// destination is on the link.
type route struct {
	dst     netip.Prefix
	gateway netip.Addr
	onLink  bool // the gateway need not be in a subnet of ours
	metric  int
	source  Source
}

// part is what one source wants.
type part struct {
	addresses []address
	routes    []route
	dns       []netip.Addr
	spareDNS  []netip.Addr // offered by the network beside those that were given
	mtu       int          // of the link; 0: as it is
	mtu6      int          // of IPv6 alone; 0: as the link's
}

func defaultFor(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// within reports whether a gateway is in the subnet of an address. The subnets
// of /31 and /127 hold both ends, those of /32 and /128 nobody else.
func within(gw netip.Addr, addresses []address) bool {
	return slices.ContainsFunc(addresses, func(a address) bool { return a.prefix.Masked().Contains(gw) })
}

// gateways makes default routes.
func (p *part) gateways(list []netip.Addr, metric int, source Source) {
	for i, gw := range list {
		p.routes = append(p.routes, route{
			dst: defaultFor(gw), gateway: gw, metric: metric + i, source: source,
			onLink: !(gw.Is6() && gw.IsLinkLocalUnicast()) && !within(gw, p.addresses),
		})
	}
}

// static is what the node file asks for.
func (c *Config) static() part {
	p := part{dns: c.DNS, mtu: c.MTU}
	for _, a := range c.Addresses {
		p.addresses = append(p.addresses, address{prefix: a, source: Static})
	}
	p.gateways(c.Gateways, metricStatic, Static)
	return p
}

// fromLease is what a DHCP server grants; nil grants nothing.
func fromLease(l *dhcp.Lease) part {
	if l == nil {
		return part{}
	}
	p := part{dns: l.DNS, mtu: l.MTU, addresses: []address{{prefix: l.Address, source: DHCP}}}
	for _, r := range l.Routes {
		p.routes = append(p.routes, route{
			dst: r.Dst, gateway: r.Gateway, metric: metricDHCP, source: DHCP,
			onLink: r.Gateway.IsValid() && !within(r.Gateway, p.addresses),
		})
	}
	p.gateways(l.Gateways, metricDHCP, DHCP)
	return p
}

// fromRouters is what router advertisements say to a port with the given MAC.
// With own addresses (auto false) only the routers count.
func fromRouters(s router.State, mac []byte, auto bool) part {
	p := part{dns: s.DNS, mtu6: s.MTU}
	for _, pre := range s.Prefixes {
		if addr, ok := router.EUI64(pre.Prefix, mac); ok && pre.Auto && auto {
			p.addresses = append(p.addresses, address{
				prefix: netip.PrefixFrom(addr, 64), source: Router,
				valid: pre.Valid, preferred: pre.Preferred, host: true,
			})
		}
		if pre.OnLink {
			p.routes = append(p.routes, route{dst: pre.Prefix, metric: metricRouter, source: Router})
		}
	}
	for i, r := range s.Routers {
		p.routes = append(p.routes, route{
			dst: defaultFor(r.Addr), gateway: r.Addr, source: Router,
			metric: metricRouter + 100*router.Rank(r.Preference) + i,
		})
	}
	return p
}

// advice leaves of a part only the name servers, for want of better ones.
func (p part) advice() part { return part{spareDNS: p.dns} }

// merge puts the parts together, earlier ones first. Gateways known to be dead
// move back, unless all are.
func merge(dead func(netip.Addr) bool, parts ...part) part {
	var out part
	for _, p := range parts {
		for _, a := range p.addresses {
			same := func(b address) bool { return b.prefix == a.prefix }
			if !slices.ContainsFunc(out.addresses, same) {
				out.addresses = append(out.addresses, a)
			}
		}
		for _, r := range p.routes {
			if r.dst.Bits() == 0 && dead(r.gateway) && choice(dead, r.gateway.Is4(), parts) {
				r.metric += metricPenalty
			}
			out.routes = append(out.routes, r)
		}
		for _, d := range p.dns {
			if !slices.Contains(out.dns, d) {
				out.dns = append(out.dns, d)
			}
		}
		out.spareDNS = append(out.spareDNS, p.spareDNS...)
		out.mtu = cmp.Or(out.mtu, p.mtu)
		out.mtu6 = cmp.Or(out.mtu6, p.mtu6)
	}
	return out
}

// choice reports whether a family has a default gateway that is not dead.
func choice(dead func(netip.Addr) bool, v4 bool, parts []part) bool {
	for _, p := range parts {
		if slices.ContainsFunc(p.routes, func(r route) bool {
			return r.dst.Bits() == 0 && r.gateway.Is4() == v4 && !dead(r.gateway)
		}) {
			return true
		}
	}
	return false
}
