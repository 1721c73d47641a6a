package main

import (
	"log/slog"
	"testing"

	"micromirror/packages/node"
)

// The DHCP of a node whose files are not there yet must not become what a node
// file with wrong addresses goes back to.
func TestOnlyOrdersAreKept(t *testing.T) {
	f := flags{state: "/state"}
	for name, want := range map[string]string{"one": "/state/working.json", "": ""} {
		if got := f.env(&node.Config{Node: node.Node{Name: name}}, slog.New(slog.DiscardHandler)).Working; got != want {
			t.Errorf("node %q keeps its configuration in %q, want %q", name, got, want)
		}
	}
}
