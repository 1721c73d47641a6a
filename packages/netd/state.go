package netd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"micromirror/packages/daemon"
	"micromirror/packages/netd/firewall"
	"micromirror/packages/netd/uplink"
)

// State is what netd tells the other daemons in <run>/state.json.
type State struct {
	Mode       Mode           `json:"mode"`
	Uplink     string         `json:"uplink"`
	MAC        string         `json:"mac,omitempty"`
	Driver     string         `json:"driver,omitempty"`
	Carrier    bool           `json:"carrier"`
	SpeedMbit  int            `json:"speed_mbit,omitempty"`
	MTU        int            `json:"mtu,omitempty"`
	Qdisc      string         `json:"qdisc,omitempty"` // "fq", or "mq/fq"
	Addresses  []AddressState `json:"addresses"`
	Gateways   []GatewayState `json:"gateways"`
	DNS        []netip.Addr   `json:"dns"`
	Ports      []PortState    `json:"ports"`
	Firewall   FirewallState  `json:"firewall"`
	Parameters []string       `json:"parameters_not_set,omitempty"`
	Error      string         `json:"error,omitempty"`
}

// FirewallState says whether the rules are in place, what of the lists was left
// out, and how much met which rule.
type FirewallState struct {
	Applied  bool                        `json:"applied"`
	Rules    int                         `json:"rules"`
	Problems []string                    `json:"problems,omitempty"`
	Error    string                      `json:"error,omitempty"`
	Counters map[string]firewall.Counter `json:"counters"`
}

// AddressState is one wanted address. State is "ok", "tentative" (being
// checked), "conflict" (another machine has it) or "missing".
type AddressState struct {
	Address netip.Prefix `json:"address"`
	Source  Source       `json:"source"`
	State   string       `json:"state"`
}

// GatewayState is one default router, best first.
type GatewayState struct {
	Address   netip.Addr `json:"address"`
	Source    Source     `json:"source"`
	Reachable bool       `json:"reachable"`
	Since     time.Time  `json:"since"`
	Ever      bool       `json:"ever_answered"`
}

// PortState is one wired port of the machine.
type PortState struct {
	Name    string `json:"name"`
	MAC     string `json:"mac"`
	Driver  string `json:"driver,omitempty"`
	PCI     string `json:"pci,omitempty"`
	Carrier bool   `json:"carrier"`
}

func describePorts(nics []uplink.NIC) []PortState {
	out := make([]PortState, 0, len(nics))
	for _, n := range nics {
		out = append(out, PortState{Name: n.Name, MAC: n.MAC.String(), Driver: n.Driver, PCI: n.PCI, Carrier: n.Carrier})
	}
	return out
}

func (m *manager) addressState(a address, have observed) string {
	i := slices.IndexFunc(have.addresses, func(k kernelAddress) bool { return k.prefix == a.prefix })
	switch {
	case i < 0:
		c := m.claims[a.prefix.Addr()]
		switch {
		case c != nil && c.asking:
			return "tentative"
		case c != nil && c.holder != nil:
			return "conflict"
		}
		return "missing"
	case have.addresses[i].conflict():
		return "conflict"
	case have.addresses[i].tentative():
		return "tentative"
	default:
		return "ok"
	}
}

// publish writes the state and the name servers, and announces addresses.
func (m *manager) publish(want part, have observed) {
	s := &m.state
	s.MAC, s.Driver, s.Carrier, s.MTU = m.port.MAC.String(), m.port.Driver, m.port.Carrier, have.mtu
	s.Qdisc = m.kernel.qdisc()
	s.SpeedMbit = speed(filepath.Join(m.env.Sys, "class/net", Uplink, "speed"))
	s.Addresses, s.Gateways, s.DNS = []AddressState{}, []GatewayState{}, m.nameServers(want)
	for _, a := range want.addresses {
		s.Addresses = append(s.Addresses, AddressState{a.prefix, a.source, m.addressState(a, have)})
	}
	sorted := slices.SortedStableFunc(slices.Values(want.routes), func(a, b route) int { return a.metric - b.metric })
	for _, r := range sorted {
		if g := m.gateways[r.gateway]; g != nil && r.dst.Bits() == 0 {
			s.Gateways = append(s.Gateways, GatewayState{r.gateway, r.source, g.reachable, g.since, g.ever})
		}
	}
	m.announce(want, have)
	m.describe()
	if text, err := json.MarshalIndent(s, "", "\t"); err == nil {
		m.write("state.json", append(text, '\n'))
	}
	m.write("resolv.conf", resolvConf(s.DNS))
}

// announce tells the console of each address that can be used from now on.
func (m *manager) announce(want part, have observed) {
	for i, a := range m.state.Addresses {
		if a.State != "ok" || m.said[a.Address] || !m.port.Carrier {
			continue
		}
		m.said[a.Address] = true
		m.proclaim(a.Address.Addr())
		line := fmt.Sprintf("address %v on %s", a.Address, Uplink)
		if gw, ok := gatewayOf(want.addresses[i], have.routes); ok {
			line += " gateway " + gw.String()
		}
		daemon.Notice(m.env.Log, line)
	}
}

func gatewayOf(a address, routes []route) (netip.Addr, bool) {
	best := route{}
	for _, r := range routes {
		if r.dst == defaultFor(a.prefix.Addr()) && (!best.gateway.IsValid() || r.metric < best.metric) {
			best = r
		}
	}
	return best.gateway, best.gateway.IsValid()
}

// resolvConf is the resolver's configuration. Its readers take at most three
// servers.
func resolvConf(dns []netip.Addr) []byte {
	var b bytes.Buffer
	b.WriteString("# written by netd\noptions timeout:2 attempts:2\n")
	for _, d := range dns[:min(3, len(dns))] {
		fmt.Fprintf(&b, "nameserver %s\n", zoned(d))
	}
	return b.Bytes()
}

// write replaces a file that others read; an unchanged one is left alone. The
// directory is in memory, so there is nothing to sync.
func (m *manager) write(name string, text []byte) {
	path := filepath.Join(m.env.Run, name)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, text, 0o644); err != nil {
		m.env.Log.Error("write state", "err", err)
		return
	}
	if err := os.Rename(tmp, path); err != nil {
		m.env.Log.Error("write state", "err", err)
	}
}

// speed reads a port's speed; the kernel has none to tell without carrier.
func speed(path string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	var n int
	if _, err := fmt.Sscan(strings.TrimSpace(string(b)), &n); err != nil {
		return 0
	}
	return max(n, 0)
}
