package netd

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"micromirror/packages/hardware"
	"micromirror/packages/netd/firewall"
	"micromirror/packages/netd/uplink"
	"micromirror/packages/node"
)

// FromNode makes netd's configuration from the node file and the models.
func FromNode(c *node.Config, models []hardware.Model) Config {
	out := Config{
		Hostname:  c.Node.Name,
		FullName:  c.Hostname(),
		About:     about(c),
		DHCP:      c.Node.DHCP,
		Addresses: c.Node.Addresses,
		DNS:       c.Node.DNS,
		MTU:       c.Node.MTU,
		VLAN:      c.Node.VLAN,
		Roles:     roles(models, c.Node),
		Firewall:  lists(c),
	}
	for _, s := range c.Fleet.DNS {
		if a, err := netip.ParseAddr(s); err == nil {
			out.LastDNS = append(out.LastDNS, a)
		}
	}
	for _, name := range c.Node.Bond.Members {
		out.Bond = append(out.Bond, card(name))
	}
	for _, g := range c.Node.Gateways {
		out.Gateways = append(out.Gateways, g.Addr)
	}
	return out
}

// lists is the firewall with the fleet's lists; what the node file says was
// checked when it was read.
func lists(c *node.Config) firewall.Config {
	out := firewall.Default(!c.Node.DisableDSCP)
	parse := func(list []string) (ps []netip.Prefix) {
		for _, s := range list {
			if p, err := netip.ParsePrefix(s); err == nil {
				ps = append(ps, p)
			}
		}
		return ps
	}
	out.Allow, out.Block = parse(c.Fleet.Firewall.Allow), parse(c.Fleet.Firewall.Block)
	if m := c.Fleet.Manage; m.On() {
		out.Private = append(out.Private, uint16(m.Port))
	}
	for _, s := range slices.Sorted(maps.Keys(c.Fleet.Firewall.Limits)) {
		for _, p := range parse([]string{s}) {
			out.Limits = append(out.Limits, firewall.Limit{Prefix: p, BytesPerSecond: uint64(max(c.Fleet.Firewall.Limits[s], 0))})
		}
	}
	return out
}

// card is a network card as a node file names it: by driver, PCI path or MAC.
func card(name string) uplink.Role {
	if _, err := net.ParseMAC(name); err == nil {
		return uplink.Role{MAC: name}
	}
	if strings.Contains(name, ":") {
		return uplink.Role{Bus: name}
	}
	return uplink.Role{Driver: name}
}

// about says to the staff at the host what the box at their switch is.
func about(c *node.Config) string {
	text := "Micro Mirror"
	if c.Node.Sponsor.Name != "" {
		text += ", hosted by " + c.Node.Sponsor.Name
	}
	if c.Fleet.Contact != "" {
		text += ", contact " + c.Fleet.Contact
	}
	return text
}

// roles are the card that the node file names, and the network devices of the
// node's model, in the file's order. A device on another bus than PCI is known by
// its driver.
func roles(models []hardware.Model, n node.Node) (out []uplink.Role) {
	if n.Uplink != "" {
		out = append(out, card(n.Uplink))
	}
	i := slices.IndexFunc(models, func(m hardware.Model) bool { return m.Model == n.Hardware })
	if i < 0 {
		return out
	}
	for _, d := range models[i].Devices {
		if d.Role != hardware.Network || d.Driver == "" {
			continue
		}
		if id, ok := strings.CutPrefix(d.ID, "pci:"); ok {
			out = append(out, uplink.Role{PCI: id})
		} else {
			out = append(out, uplink.Role{Driver: d.Driver})
		}
	}
	return out
}

// Driver reports whether a device, by its modalias, is a network card or a part
// of one: the Ethernet function of a ConnectX-3 is a device of its own.
func Driver(modalias string) bool {
	const pciNetwork, virtioNetwork = "bc02", "virtio:d00000001v"
	return strings.HasPrefix(modalias, "pci:") && strings.Contains(modalias, pciNetwork) ||
		strings.HasPrefix(modalias, virtioNetwork) ||
		strings.HasPrefix(modalias, "auxiliary:") && strings.HasSuffix(modalias, ".eth")
}

// Modules are the kernel modules that Run always makes use of. Those of bonds
// and VLANs the kernel asks for itself when the first is made.
func Modules() []string {
	return []string{"sch_fq", "tcp_bbr", "nf_tables", "nft_ct", "nft_limit"}
}
