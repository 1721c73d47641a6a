//go:build vm

package scenario

import (
	"path/filepath"
	"testing"

	"micromirror/packages/vm"
)

// pair are two nodes that are each other's gateway over two cables.
var pair = []struct{ name, address, address6, gateway, gateway6 string }{
	{"one", "192.0.2.1/24", "2001:db8::1/64", "192.0.2.2", "2001:db8::2"},
	{"two", "192.0.2.2/24", "2001:db8::2/64", "192.0.2.1", "2001:db8::1"},
}

// answered is what a sync says that reached the other node, which has nothing yet.
const answered = `mm syncd: demo-\S+: failed err="list refused: it names no file"`

// Two nodes bond two cables, put a VLAN on the bond, and reach each other there;
// one syncs from the other. They go on over the second cable when the first is
// pulled out.
func TestBondWithVLAN(t *testing.T) {
	t.Parallel()
	build, err := vm.BuildDir()
	if err != nil {
		t.Fatal(err)
	}
	seats, err := vm.Reserve(t.Context(), filepath.Join(build, "vm"), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer seats.Release()
	var links []*vm.Link
	for id := range byte(2) {
		link, err := vm.NewLink(8 + id)
		if err != nil {
			t.Fatal(err)
		}
		defer link.Close()
		links = append(links, link)
	}
	var nodes []*vm.VM
	for i, p := range pair {
		image := filepath.Join(t.TempDir(), p.name+".img")
		err := Image(t.Context(), image, ImageOptions{Kind: Shipped, Upstream: p.gateway + ":873", Node: func(n map[string]any) {
			n["addresses"], n["gateways"] = []string{p.address, p.address6}, []string{p.gateway, p.gateway6}
			n["bond"] = map[string]any{"members": []string{links[0].Ends[i].MAC(), links[1].Ends[i].MAC()}}
			n["vlan"] = 101
		}})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, vm.Start(t, vm.Config{Name: t.Name() + p.name, Image: image, NIC: cableNIC, Seats: seats, Links: []vm.LinkEnd{links[0].Ends[i], links[1].Ends[i]}}))
	}
	for i, m := range nodes {
		m.Wait(`mm netd: uplink wan0 .*driver=bonding`)
		m.Wait(`mm netd: address ` + pair[i].address)
		m.Wait(answered)
	}
	for _, m := range nodes {
		cableOf(t, m, "net1", false)
		m.Wait(`link status definitely down`)
	}
	nodes[0].Wait(answered)
}
