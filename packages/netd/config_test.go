package netd

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"micromirror/packages/hardware"
	"micromirror/packages/netd/firewall"
	"micromirror/packages/netd/uplink"
	"micromirror/packages/node"
	"micromirror/packages/project"
)

func TestFromNode(t *testing.T) {
	c := &node.Config{Fleet: node.Fleet{Domain: "example.net", Contact: "noc@example.net", Firewall: node.Firewall{
		Allow: []string{"192.0.2.0/24"}, Block: []string{"2001:db8:bad::/48"}, Limits: map[string]project.Size{"203.0.113.0/24": 10 << 20},
	}, Manage: node.Manage{Keys: []string{"a key"}, Port: 2222}}, Node: node.Node{
		Uplink: "0000:02:00.0", VLAN: 7, MTU: 9000, Bond: node.Bond{Members: []string{"0000:01:00.0", "mlx4_en", "02:00:00:00:00:01"}},
		Sponsor: node.Sponsor{Name: "Example"},
		Name:    "zrh1", Hardware: "box", Addresses: prefixes("192.0.2.10/24"),
		Gateways: []node.Gateway{{Addr: netip.MustParseAddr("192.0.2.1")}}, DNS: hosts("192.0.2.53"),
	}}
	models := []hardware.Model{{Model: "other"}, {Model: "box", Devices: []hardware.Device{
		{ID: "pci:8086:2922", Role: hardware.Storage, Driver: "ahci"},
		{ID: "pci:15b3:1003", Role: hardware.Network, Driver: "mlx4_core"},
		{ID: "pci:10ec:0000", Role: hardware.Network, Unused: "no driver"},
		{ID: "virtio:d00000001v00001AF4", Role: hardware.Network, Driver: "virtio_net"},
	}}}
	want := Config{
		Hostname: "zrh1", FullName: "zrh1.example.net", About: "Micro Mirror, hosted by Example, contact noc@example.net",
		Addresses: prefixes("192.0.2.10/24"), Gateways: hosts("192.0.2.1"), DNS: hosts("192.0.2.53"),
		Roles:    []uplink.Role{{Bus: "0000:02:00.0"}, {PCI: "15b3:1003"}, {Driver: "virtio_net"}},
		Firewall: firewall.Default(true),
		VLAN:     7, MTU: 9000,
		Bond: []uplink.Role{{Bus: "0000:01:00.0"}, {Driver: "mlx4_en"}, {MAC: "02:00:00:00:00:01"}},
	}
	want.Firewall.Allow, want.Firewall.Block = prefixes("192.0.2.0/24"), prefixes("2001:db8:bad::/48")
	want.Firewall.Private = []uint16{2222}
	want.Firewall.Limits = []firewall.Limit{{Prefix: netip.MustParsePrefix("203.0.113.0/24"), BytesPerSecond: 10 << 20}}
	if d := cmp.Diff(want, FromNode(c, models), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); d != "" {
		t.Errorf("configuration (-want +got):\n%s", d)
	}
	if got := FromNode(&node.Config{Node: node.Node{Hardware: "unheard of"}}, models); got.Roles != nil {
		t.Errorf("roles of an unknown model: %v", got.Roles)
	}
}

func TestDriver(t *testing.T) {
	for alias, want := range map[string]bool{
		"pci:v000010ECd00008168sv0000103Csd00002215bc02sc00i00": true,
		"pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01": false,
		"virtio:d00000001v00001AF4":                             true,
		"virtio:d00000002v00001AF4":                             false,
		"acpi:PNP0C0C:":                                         false,
	} {
		if Driver(alias) != want {
			t.Errorf("Driver(%q) = %v", alias, !want)
		}
	}
}
