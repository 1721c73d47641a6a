package netd

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/mdlayher/ndp"

	"micromirror/packages/netd/arp"
)

// claim is how far the question is whether an IPv4 address is free. IPv6
// addresses are checked by the kernel, and leases by their server.
type claim struct {
	asking bool
	free   bool
	holder net.HardwareAddr // who has it
	at     time.Time        // of the answer
}

// claimed is an answer.
type claimed struct {
	port   int
	addr   netip.Addr
	holder net.HardwareAddr
	err    error
}

// hold takes out of a plan the addresses that must wait, and the gateways that
// cannot be reached without them.
func (m *manager) hold(now time.Time, p plan, have observed) plan {
	held := false
	p.setAddresses = slices.DeleteFunc(p.setAddresses, func(a address) bool {
		wait := m.held(now, a)
		held = held || wait
		return wait
	})
	if !held {
		return p
	}
	p.setRoutes = slices.DeleteFunc(p.setRoutes, func(r route) bool {
		return r.gateway.Is4() && r.source == Static && !slices.ContainsFunc(have.addresses, func(k kernelAddress) bool { return k.prefix.Addr().Is4() })
	})
	return p
}

// held reports whether an address must wait, and asks for it if nobody has. An
// address that was in use and is being restored does not wait.
func (m *manager) held(now time.Time, a address) bool {
	ip := a.prefix.Addr()
	if !ip.Is4() || a.source != Static || m.said[a.prefix] {
		return false
	}
	c := m.claims[ip]
	switch {
	case c != nil && (c.free || c.asking):
		return !c.free
	case c != nil && now.Sub(c.at) < retryAfter, !m.port.Carrier:
		return true
	}
	m.claims[ip] = &claim{asking: true}
	go m.ask(m.sourceCtx, m.kernel.index, ip, m.firstGateway())
	return true
}

// firstGateway is asked too, in case it answers for all addresses.
func (m *manager) firstGateway() netip.Addr {
	for _, g := range m.config.Gateways {
		if g.Is4() {
			return g
		}
	}
	return netip.Addr{}
}

func (m *manager) ask(ctx context.Context, port int, addr, gateway netip.Addr) {
	holder, err := arp.Holder(ctx, port, addr, gateway)
	select {
	case m.answers <- claimed{port, addr, holder, err}:
	case <-ctx.Done():
	}
}

// answer takes an answer over. A question that could not be asked is answered
// with yes: rather twice the same address than a node without.
func (m *manager) answer(now time.Time, a claimed) {
	if a.port != m.kernel.index {
		return
	}
	if a.err != nil {
		m.env.Log.Warn("address not checked for being free", "address", a.addr.String(), "err", a.err)
	}
	if a.holder != nil {
		m.env.Log.Error("address is in use by another machine", "address", a.addr.String(), "mac", a.holder.String())
	}
	m.claims[a.addr] = &claim{free: a.holder == nil, holder: a.holder, at: now}
}

// proclaim tells the link of an address that is new on it, so that neighbours
// who knew it at another machine, such as this node's former one, learn at once.
func (m *manager) proclaim(a netip.Addr) {
	announce := advertise
	if a.Is4() {
		announce = arp.Announce
	}
	if err := announce(m.kernel.index, a); err != nil {
		m.env.Log.Debug("announce address", "address", a.String(), "err", err)
	}
}

// advertise is to IPv6 what a gratuitous ARP is to IPv4 (RFC 4861, 7.2.6).
func advertise(index int, a netip.Addr) error {
	ifi, err := net.InterfaceByIndex(index)
	if err != nil {
		return err
	}
	conn, _, err := ndp.Listen(ifi, ndp.Addr(a.String()))
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.WriteTo(&ndp.NeighborAdvertisement{
		Override: true, TargetAddress: a,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: ifi.HardwareAddr}},
	}, nil, netip.IPv6LinkLocalAllNodes())
}
