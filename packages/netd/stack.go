package netd

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"

	"micromirror/packages/netd/uplink"
)

// Names of what the uplink is made of when it is not simply a port.
const (
	aggregate = "agg0"   // the members together; the module makes a bond0 of its own
	trunk     = "trunk0" // what carries the VLAN
)

// Bond parameters (Documentation/networking/bonding.rst of the kernel).
const miimonMillis = 100

// join makes one port of the bond's members and returns the ports to choose
// from. A member that is missing or has no link leaves the others working, and
// without any member the remaining ports are all there is.
func (m *manager) join(nics []uplink.NIC) ([]uplink.NIC, error) {
	isMember := func(n uplink.NIC) bool {
		return slices.ContainsFunc(m.config.Bond, func(r uplink.Role) bool { return r.Matches(n) })
	}
	members := slices.DeleteFunc(slices.Clone(nics), func(n uplink.NIC) bool { return !isMember(n) })
	if len(members) == 0 {
		return nics, m.dissolve()
	}
	slices.SortFunc(members, func(a, b uplink.NIC) int {
		return cmp.Or(cmp.Compare(a.Bus, b.Bus), cmp.Compare(a.Port, b.Port), bytes.Compare(a.MAC, b.MAC))
	})
	bond, err := m.kernel.bond(members[0].MAC)
	if err != nil {
		return nics, err
	}
	var errs []error
	for _, n := range members {
		errs = append(errs, m.kernel.enslave(n, bond.Attrs().Index))
	}
	if err := m.kernel.h.LinkSetUp(bond); err != nil {
		errs = append(errs, fmt.Errorf("switch on the bond: %w", err))
	}
	one, err := uplink.Describe(m.kernel.h, m.env.Sys, bond.Attrs().Index)
	if err != nil {
		return nics, errors.Join(append(errs, err)...)
	}
	one.Driver = "bonding"
	return []uplink.NIC{one}, errors.Join(errs...)
}

// bond returns the bond, made if it is not there. Its address is that of the
// member that comes first on the bus, at every boot the same.
func (k *kernel) bond(mac net.HardwareAddr) (netlink.Link, error) {
	if l, err := k.findBond(); err != nil || l != nil {
		return l, err
	}
	b := netlink.NewLinkBond(netlink.LinkAttrs{Name: aggregate, HardwareAddr: mac})
	b.Mode = netlink.BOND_MODE_802_3AD
	b.LacpRate = netlink.BOND_LACP_RATE_FAST
	b.Miimon = miimonMillis
	b.XmitHashPolicy = netlink.BOND_XMIT_HASH_POLICY_LAYER3_4
	if err := k.h.LinkAdd(b); err != nil {
		return nil, fmt.Errorf("make the bond: %w", err)
	}
	return k.h.LinkByName(aggregate)
}

// findBond looks for the bond of an earlier run, whatever it is called by now.
func (k *kernel) findBond() (netlink.Link, error) {
	links, err := k.h.LinkList()
	if err := interrupted(err); err != nil {
		return nil, fmt.Errorf("look for the bond: %w", err)
	}
	for _, l := range links {
		if b, ok := l.(*netlink.Bond); ok && b.Mode == netlink.BOND_MODE_802_3AD {
			return l, nil
		}
	}
	return nil, nil
}

// enslave makes a port a member; the kernel wants it down and without addresses
// for that.
func (k *kernel) enslave(n uplink.NIC, bond int) error {
	l, err := k.h.LinkByIndex(n.Index)
	if err != nil {
		return fmt.Errorf("bond member %s: %w", n.Name, err)
	}
	if l.Attrs().MasterIndex == bond {
		return nil
	}
	if n.Name == Uplink { // from when it was the uplink alone
		if err := k.rename(l, fmt.Sprintf("nic%d", n.Index)); err != nil {
			return err
		}
	}
	if err := errors.Join(k.clear(n.Index), k.h.LinkSetDown(l), k.h.LinkSetMasterByIndex(l, bond)); err != nil {
		return fmt.Errorf("bond member %s: %w", n.Name, err)
	}
	return k.h.LinkSetUp(l)
}

// dissolve removes the bond of an earlier configuration, which frees its members.
func (m *manager) dissolve() error {
	old, err := m.kernel.findBond()
	if err != nil || old == nil {
		return err
	}
	if err := m.kernel.h.LinkDel(old); err != nil {
		return fmt.Errorf("remove the bond: %w", err)
	}
	return nil
}

// tag puts the configured VLAN on a port and returns the interface that bears
// the addresses: the port itself without a VLAN. A VLAN of an earlier
// configuration goes.
func (m *manager) tag(n uplink.NIC) (index int, err error) {
	if err := m.untag(n); err != nil {
		return 0, err
	}
	if m.config.VLAN == 0 {
		return n.Index, m.kernel.name(n, Uplink)
	}
	if l, err := m.kernel.h.LinkByName(Uplink); err == nil && l.Type() == "vlan" {
		return l.Attrs().Index, nil
	}
	if err := errors.Join(m.kernel.name(n, trunk), m.kernel.quiet(trunk, true), m.kernel.raise(n.Index, m.config.MTU)); err != nil {
		return 0, err
	}
	v := &netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: Uplink, ParentIndex: n.Index}, VlanId: m.config.VLAN, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}
	if err := m.kernel.h.LinkAdd(v); err != nil {
		return 0, fmt.Errorf("make VLAN %d: %w", m.config.VLAN, err)
	}
	l, err := m.kernel.h.LinkByName(Uplink)
	if err != nil {
		return 0, fmt.Errorf("make VLAN %d: %w", m.config.VLAN, err)
	}
	if err := m.kernel.h.LinkSetUp(l); err != nil {
		return 0, fmt.Errorf("switch on VLAN %d: %w", m.config.VLAN, err)
	}
	return l.Attrs().Index, nil
}

// untag removes a VLAN that is not the one of this port and configuration.
func (m *manager) untag(n uplink.NIC) error {
	l, err := m.kernel.h.LinkByName(Uplink)
	if err != nil || l.Type() != "vlan" {
		return nil
	}
	v, ok := l.(*netlink.Vlan)
	if ok && v.VlanId == m.config.VLAN && v.ParentIndex == n.Index {
		return nil
	}
	if err := m.kernel.h.LinkDel(l); err != nil {
		return fmt.Errorf("remove VLAN: %w", err)
	}
	return nil
}

// raise lets a port carry frames of at least that size: a VLAN's cannot be
// longer than its port's.
func (k *kernel) raise(index, mtu int) error {
	l, err := k.h.LinkByIndex(index)
	if err != nil {
		return fmt.Errorf("set mtu %d: %w", mtu, err)
	}
	if l.Attrs().MTU >= mtu {
		return nil
	}
	if err := k.h.LinkSetMTU(l, mtu); err != nil {
		return fmt.Errorf("set mtu %d: %w", mtu, err)
	}
	return nil
}
