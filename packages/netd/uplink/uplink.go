// Package uplink finds the network port that leads to the world.
//
// Ports are never told apart by the names the kernel gives them, which depend
// on the order in which drivers load. A port is known by what it is: its driver,
// its PCI address, its vendor and device, its MAC address. The hardware model
// lists the roles in order of preference; where it lists nothing, any wired
// port will do. Of several that will do, one with carrier wins, so that a host
// who used the other socket still has a working node.
package uplink

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// NIC is a wired network port.
type NIC struct {
	Name    string
	Index   int
	MAC     net.HardwareAddr
	Driver  string // "r8169"; empty for a virtual port
	Bus     string // "0000:03:00.0"
	PCI     string // "10ec:8168"
	Port    int    // of several ports behind one PCI address, as on the ConnectX-3
	Carrier bool
	// Changes counts how often the carrier came or went: a short interruption
	// is over before anybody has looked.
	Changes int
}

// Role describes the ports that may be the uplink; empty fields match all.
type Role struct {
	Driver string `json:"driver,omitempty"`
	Bus    string `json:"bus,omitempty"`
	PCI    string `json:"pci,omitempty"`
	MAC    string `json:"mac,omitempty"`
}

// Matches reports whether the port is what the role describes.
func (r Role) Matches(n NIC) bool {
	fits := func(want, have string) bool { return want == "" || strings.EqualFold(want, have) }
	return fits(r.Driver, n.Driver) && fits(r.Bus, n.Bus) && fits(r.PCI, n.PCI) && fits(r.MAC, n.MAC.String())
}

// Choose returns the port to use: the one with carrier that the earliest role
// matches, or else the one without. Ports that no role matches come last. Ties
// go to the lower bus address, which does not change between boots. It reports
// false only if there is no port.
func Choose(nics []NIC, roles []Role) (NIC, bool) {
	if len(nics) == 0 {
		return NIC{}, false
	}
	rank := func(n NIC) int {
		if i := slices.IndexFunc(roles, func(r Role) bool { return r.Matches(n) }); i >= 0 {
			return i
		}
		return len(roles)
	}
	return slices.MinFunc(nics, func(a, b NIC) int {
		return cmp.Or(
			compareBool(b.Carrier, a.Carrier),
			cmp.Compare(rank(a), rank(b)),
			cmp.Compare(a.Bus, b.Bus),
			cmp.Compare(a.Port, b.Port),
			bytes.Compare(a.MAC, b.MAC),
		)
	}), true
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

// List returns the wired ports of the machine. Below sys (normally /sys) it
// looks for what the kernel's network interface does not tell.
func List(h *netlink.Handle, sys string) ([]NIC, error) {
	links, err := h.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, err
	}
	var nics []NIC
	for _, l := range links {
		if wired(l) {
			nics = append(nics, describe(l, sys))
		}
	}
	return nics, nil
}

// Describe returns what is known about one interface, a virtual one included.
func Describe(h *netlink.Handle, sys string, index int) (NIC, error) {
	l, err := h.LinkByIndex(index)
	if err != nil {
		return NIC{}, fmt.Errorf("describe interface %d: %w", index, err)
	}
	return describe(l, sys), nil
}

// wired reports whether a link is an Ethernet port of its own: hardware, or
// one end of a virtual cable.
func wired(l netlink.Link) bool {
	a := l.Attrs()
	if a.Flags&net.FlagLoopback != 0 || len(a.HardwareAddr) != 6 || a.EncapType != "ether" && a.EncapType != "" {
		return false
	}
	return l.Type() == "device" || l.Type() == "veth"
}

func describe(l netlink.Link, sys string) NIC {
	a := l.Attrs()
	dev := filepath.Join(sys, "class/net", a.Name, "device")
	n := NIC{
		Name:    a.Name,
		Index:   a.Index,
		MAC:     a.HardwareAddr,
		Driver:  linkBase(filepath.Join(dev, "driver")),
		Bus:     linkBase(dev),
		Port:    number(sys, a.Name, "dev_port"),
		Changes: number(sys, a.Name, "carrier_changes"),
		Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0,
	}
	vendor, device := hexID(dev, "vendor"), hexID(dev, "device")
	if vendor != "" && device != "" {
		n.PCI = vendor + ":" + device
	}
	return n
}

// linkBase returns the last element of what a symbolic link points to.
func linkBase(path string) string {
	target, err := os.Readlink(path)
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// number reads one of the kernel's numbers about a port; 0 if it has none.
func number(sys, name, what string) int {
	b, err := os.ReadFile(filepath.Join(sys, "class/net", name, what))
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return n
}

func hexID(dev, name string) string {
	b, err := os.ReadFile(filepath.Join(dev, name))
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(strings.TrimSpace(string(b)), "0x")
}
