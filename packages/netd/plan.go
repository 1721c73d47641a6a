package netd

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// observed is what the kernel has on the uplink.
type observed struct {
	addresses []kernelAddress
	routes    []route
	mtu, mtu6 int
}

type kernelAddress struct {
	prefix netip.Prefix
	flags  int
	valid  time.Duration // what is left; 0 means for ever
}

func (a kernelAddress) tentative() bool { return a.flags&unix.IFA_F_TENTATIVE != 0 }
func (a kernelAddress) conflict() bool  { return a.flags&unix.IFA_F_DADFAILED != 0 }

// plan is the way from what is to what should be. It is carried out in the
// order of its fields, so that connections survive: what is new comes before
// what is old goes.
type plan struct {
	setAddresses []address
	setRoutes    []route
	delRoutes    []route
	delAddresses []netip.Prefix
	mtu, mtu6    int // 0: leave it
}

func (p plan) empty() bool {
	return len(p.setAddresses)+len(p.setRoutes)+len(p.delRoutes)+len(p.delAddresses)+p.mtu+p.mtu6 == 0
}

// lifetimeSlack is how far the kernel's countdown may be off before it is set
// again; each advertisement would otherwise rewrite each address.
const lifetimeSlack = 30 * time.Second

// compare makes the plan. What a source that has not spoken yet may have
// configured in a former run is not deleted.
func compare(now time.Time, want part, have observed, waiting map[Source]bool) plan {
	var p plan
	for _, a := range want.addresses {
		i := slices.IndexFunc(have.addresses, func(k kernelAddress) bool { return k.prefix == a.prefix })
		if i < 0 || outdated(now, a, have.addresses[i]) {
			p.setAddresses = append(p.setAddresses, a)
		}
	}
	for _, r := range want.routes {
		if !slices.Contains(have.routes, r) {
			p.setRoutes = append(p.setRoutes, r)
		}
	}
	// Subnets before the gateways in them, wherever they come from.
	slices.SortStableFunc(p.setRoutes, func(a, b route) int { return cmp.Compare(b.dst.Bits(), a.dst.Bits()) })
	if want.mtu != 0 && want.mtu != have.mtu {
		p.mtu = want.mtu
	}
	// The kernel caps IPv6 at the link's MTU by itself.
	if want.mtu6 != 0 && want.mtu6 != have.mtu6 && (want.mtu6 < have.mtu || have.mtu6 < have.mtu) {
		p.mtu6 = min(want.mtu6, have.mtu)
	}
	for _, k := range have.addresses {
		wanted := slices.ContainsFunc(want.addresses, func(a address) bool { return a.prefix == k.prefix })
		family := Router
		if k.prefix.Addr().Is4() {
			family = DHCP
		}
		if !wanted && !waiting[family] && !k.prefix.Addr().IsLinkLocalUnicast() {
			p.delAddresses = append(p.delAddresses, k.prefix)
		}
	}
	for _, r := range have.routes {
		if !waiting[r.source] && !slices.Contains(want.routes, r) {
			p.delRoutes = append(p.delRoutes, r)
		}
	}
	return p
}

func outdated(now time.Time, a address, k kernelAddress) bool {
	if a.valid.IsZero() || k.valid == 0 {
		return a.valid.IsZero() != (k.valid == 0)
	}
	return (a.valid.Sub(now) - k.valid).Abs() > lifetimeSlack
}
