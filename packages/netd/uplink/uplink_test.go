package uplink

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

func nic(name, driver, bus string, carrier bool) NIC {
	return NIC{Name: name, Driver: driver, Bus: bus, PCI: "10ec:8168", MAC: net.HardwareAddr{2, 0, 0, 0, 0, bus[6]}, Carrier: carrier}
}

func TestChoose(t *testing.T) {
	onboard, card := nic("eth1", "r8169", "0000:02:00.0", true), nic("eth0", "mlx4_core", "0000:01:00.0", true)
	cardDown := card
	cardDown.Carrier = false
	card2 := card
	card2.Name, card2.Port = "eth7", 1
	roles := []Role{{Driver: "mlx4_core"}, {PCI: "10EC:8168"}}
	for _, tc := range []struct {
		name  string
		nics  []NIC
		roles []Role
		want  string
	}{
		{"the first role", []NIC{onboard, card}, roles, "eth0"},
		{"carrier before role", []NIC{onboard, cardDown}, roles, "eth1"},
		{"role without any carrier", []NIC{{Name: "usb0"}, cardDown}, roles, "eth0"},
		{"no roles: lowest address", []NIC{onboard, card}, nil, "eth0"},
		{"unmatched port still serves", []NIC{onboard}, []Role{{MAC: "02:00:00:00:00:99"}}, "eth1"},
		{"MAC", []NIC{card, onboard}, []Role{{MAC: onboard.MAC.String()}}, "eth1"},
		{"first port of a card", []NIC{card2, card}, roles, "eth0"},
		{"nothing", nil, roles, ""},
	} {
		got, ok := Choose(tc.nics, tc.roles)
		if got.Name != tc.want || ok != (tc.want != "") {
			t.Errorf("%s: chose %q, %v; want %q", tc.name, got.Name, ok, tc.want)
		}
	}
}

func TestDescribeReadsSysfs(t *testing.T) {
	sys := t.TempDir()
	pci := filepath.Join(sys, "devices/pci0000:00/0000:03:00.0")
	class := filepath.Join(sys, "class/net/eth0")
	for _, dir := range []string{pci, class, filepath.Join(sys, "bus/pci/drivers/tg3")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{class + "/device": pci, pci + "/driver": sys + "/bus/pci/drivers/tg3"} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{pci + "/vendor": "0x14e4\n", pci + "/device": "0x165f\n", class + "/dev_port": "1\n", class + "/carrier_changes": "4\n"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	l := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: "eth0", Index: 3, HardwareAddr: mac, RawFlags: 1 << 16}}
	want := NIC{Name: "eth0", Index: 3, MAC: mac, Driver: "tg3", Bus: "0000:03:00.0", PCI: "14e4:165f", Port: 1, Carrier: true, Changes: 4}
	if d := cmp.Diff(want, describe(l, sys)); d != "" {
		t.Errorf("port (-want +got):\n%s", d)
	}
}
