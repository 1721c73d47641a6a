//go:build vm

package scenario

import (
	"path/filepath"
	"testing"

	"micromirror/packages/vm"
)

// cableNIC is the card of machines whose cable is pulled: QEMU's e1000e keeps that
// to itself.
const cableNIC = "virtio-net-pci,speed=1000,duplex=full"

// cable plugs the first card's cable in or pulls it out.
func cable(t *testing.T, m *vm.VM, in bool) {
	t.Helper()
	cableOf(t, m, "net0", in)
}

func cableOf(t *testing.T, m *vm.VM, card string, in bool) {
	t.Helper()
	if err := m.QMP(t.Context(), "set_link", map[string]any{"name": card, "up": in}, nil); err != nil {
		t.Fatal(err)
	}
}

// A node with fixed addresses of both families and no DHCP, whose cable is put in
// after it has started, serves; it does so again after the cable was out.
func TestStaticAddressesAndALateCable(t *testing.T) {
	t.Parallel()
	image := filepath.Join(t.TempDir(), "node.img")
	err := Image(t.Context(), image, ImageOptions{Kind: Shipped, Node: func(n map[string]any) {
		n["addresses"] = []string{"10.0.2.15/24", "fec0::15/64"}
		n["gateways"] = []string{"10.0.2.2", "fe80::2"}
		n["dns"] = []string{"10.0.2.3"}
	}})
	if err != nil {
		t.Fatal(err)
	}
	m := vm.Start(t, vm.Config{Image: image, NIC: cableNIC})
	cable(t, m, false)
	m.Wait(`mm netd: uplink wan0 .*carrier=false`)
	cable(t, m, true)
	m.Wait(`mm netd: address 10\.0\.2\.15/24 on wan0 gateway 10\.0\.2\.2`)
	m.Get("/")
	cable(t, m, false)
	m.Wait(`mm netd: link is down: check the cable`)
	cable(t, m, true)
	m.Get("/")
}
