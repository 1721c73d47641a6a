package netd

import (
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// gateway is what is known about a router that a default route leads to.
type gateway struct {
	reachable bool
	known     bool      // reachable says something
	since     time.Time // of the last change
	ever      bool      // has answered since netd started
}

// dead reports that a gateway has been asked and does not answer.
func (m *manager) dead(a netip.Addr) bool {
	g := m.gateways[a]
	return g != nil && g.known && !g.reachable && m.port.Carrier
}

// probeGateways lets the kernel ask each gateway for its MAC address.
func (m *manager) probeGateways() {
	for addr := range m.gateways {
		n := &netlink.Neigh{LinkIndex: m.kernel.index, IP: addr.AsSlice(), State: unix.NUD_NONE, Flags: unix.NTF_USE}
		if err := m.kernel.h.NeighSet(n); err != nil {
			m.env.Log.Debug("probe gateway", "gateway", addr, "err", err)
		}
	}
}

// trackGateways takes over what the kernel knows about its neighbours.
func (m *manager) trackGateways(now time.Time, want part) {
	wanted := map[netip.Addr]bool{}
	for _, r := range want.routes {
		if r.gateway.IsValid() && r.dst.Bits() == 0 {
			wanted[r.gateway] = true
		}
	}
	for a := range m.gateways {
		if !wanted[a] {
			delete(m.gateways, a)
		}
	}
	for a := range wanted {
		if m.gateways[a] == nil {
			m.gateways[a] = &gateway{since: now}
			m.probeDue = true
		}
	}
	neighs, err := m.kernel.h.NeighList(m.kernel.index, netlink.FAMILY_ALL)
	if interrupted(err) != nil {
		return
	}
	for _, n := range neighs {
		addr, _ := netip.AddrFromSlice(n.IP)
		if g := m.gateways[addr.Unmap()]; g != nil {
			m.heard(now, addr.Unmap(), g, n.State)
		}
	}
	// Last, because asking makes the kernel forget what it knew.
	if m.probeDue {
		m.probeGateways()
		m.probeDue = false
	}
}

// heard judges a neighbour's state. Stale, delay and probe mean "answered, and
// may still": they change nothing.
func (m *manager) heard(now time.Time, addr netip.Addr, g *gateway, state int) {
	var reachable bool
	switch {
	case state&(unix.NUD_REACHABLE|unix.NUD_PERMANENT) != 0:
		reachable = true
	case state&unix.NUD_FAILED != 0:
		reachable = false
	default:
		return
	}
	if g.known && g.reachable == reachable {
		return
	}
	if !reachable {
		m.env.Log.Warn("gateway does not answer", "gateway", addr.String())
	} else if g.known {
		m.env.Log.Info("gateway answers again", "gateway", addr.String())
	}
	g.known, g.reachable, g.since, g.ever = true, reachable, now, g.ever || reachable
}
