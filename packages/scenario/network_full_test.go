//go:build vm && full

package scenario

import (
	"path/filepath"
	"testing"

	"micromirror/packages/vm"
)

// A node that was told a gateway which does not exist takes what the network
// offers, so that a corrected node file can reach it, and serves nobody meanwhile.
func TestWrongGatewayIsRescued(t *testing.T) {
	t.Parallel()
	image := filepath.Join(t.TempDir(), "node.img")
	err := Image(t.Context(), image, ImageOptions{Kind: Shipped, Node: func(n map[string]any) {
		n["addresses"], n["gateways"] = []string{"192.0.2.10/24"}, []string{"192.0.2.1"}
	}})
	if err != nil {
		t.Fatal(err)
	}
	m := vm.Start(t, vm.Config{Image: image})
	m.Wait(`mm netd: address 192\.0\.2\.10/24 on wan0`)
	m.Wait(`mm netd: no gateway answers: check addresses and gateway`)
	m.Wait(`mm netd: address 10\.0\.2\.15/24 on wan0`)
}
