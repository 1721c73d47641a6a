package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"micromirror/packages/layout"
	"micromirror/packages/netd"
	"micromirror/packages/node"
)

// A configuration is kept, and no stick is looked for, only while the network works
// as the node file wants it. What netd fell back to by itself does not count.
func TestConnectedByWhatNetdSays(t *testing.T) {
	silent := netd.GatewayState{Address: netip.MustParseAddr("192.0.2.1")}
	answers := netd.GatewayState{Address: netip.MustParseAddr("2001:db8::1"), Reachable: true}
	for name, c := range map[string]struct {
		state netd.State
		want  bool
	}{
		"as configured":         {netd.State{Mode: netd.Configured, Gateways: []netd.GatewayState{answers}}, true},
		"one of two gateways":   {netd.State{Mode: netd.Configured, Gateways: []netd.GatewayState{silent, answers}}, true},
		"no answer":             {netd.State{Mode: netd.Configured, Gateways: []netd.GatewayState{silent}}, false},
		"no gateway":            {netd.State{Mode: netd.Configured}, false},
		"previous node file":    {netd.State{Mode: netd.Previous, Gateways: []netd.GatewayState{answers}}, false},
		"rescue by the network": {netd.State{Mode: netd.Rescue, Gateways: []netd.GatewayState{answers}}, false},
	} {
		b, err := json.Marshal(c.state)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "state.json")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := connected(file); (err == nil) != c.want {
			t.Errorf("%s: %v, want connected: %v", name, err, c.want)
		}
	}
	if connected(filepath.Join(t.TempDir(), "none")) == nil {
		t.Error("connected without a word from netd")
	}
}

// What only its owner may read stays so when it is restored from its second copy.
func TestSecretsAreRestoredForTheirOwnerOnly(t *testing.T) {
	places := map[string]bool{
		filepath.Join(layout.NodeDir, node.KeyFile): false, filepath.Join(layout.NodeDir, node.SecretFile): false,
		filepath.Join(layout.AcmeDir, "account.key"): false,
	}
	for _, k := range kept() {
		for _, name := range k.Only {
			path := filepath.Join(k.Dir, name)
			if _, secret := places[path]; !secret {
				continue
			}
			places[path] = true
			if k.Mode != 0o600 {
				t.Errorf("%s is restored with mode %v, want that only its owner can read it", path, k.Mode)
			}
		}
	}
	for path, found := range places {
		if !found {
			t.Errorf("%s has no second copy", path)
		}
	}
}
