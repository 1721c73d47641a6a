// Package node reads what makes a node itself: the fleet file, shared by all
// nodes, and the node file of about ten lines.
//
// Both are JSON; reference/fleet.json and reference/node.json show every field
// and are test input. One reader serves two places with the same checks:
//
//   - ReadDesk, for the maintainers' tools, refuses a file with any problem and
//     names all of them at once: file, line, field, value, remedy.
//   - ReadNode, for the daemons, never gives up: what is wrong or unknown (a
//     newer release may have written it) is reported and left out, the rest is
//     used. A file that cannot be read or is not JSON is replaced by its last
//     good copy, which whoever replaces the file keeps beside it as <file>.old.
//
// A third file, secret.json, is optional and lies over the fleet file: what only
// this node may know. It travels when the disk is written, or encrypted to the
// node's own key.
//
// The package opens no ports and writes nothing. It reads /perm/node on a node.
package node

import (
	"net/netip"
	"slices"
	"strings"

	"micromirror/packages/project"
)

// Config is everything a node is told.
type Config struct {
	Fleet Fleet
	Node  Node
}

// Fleet is what all nodes share.
type Fleet struct {
	// Domain holds the nodes: a node's full name is <name>.<domain>.
	Domain string `json:"domain"`
	// Contact is an e-mail address or URL shown to people.
	Contact string `json:"contact"`
	// Upstream is the rsync server, host[:port], that projects come from.
	Upstream string `json:"upstream"`
	// NTP are time servers, names or addresses.
	NTP []string `json:"ntp"`
	// DNS are name servers of last resort, by address: a node asks them only
	// while none of those that its host gave or its network offers answers.
	DNS []string `json:"dns"`
	// MQTT is the broker of the push messages.
	MQTT MQTT `json:"mqtt"`
	// ACME is the certificate authority.
	ACME ACME `json:"acme"`
	// Update says where releases come from.
	Update Update `json:"update"`
	// Firewall has the fleet's lists.
	Firewall Firewall `json:"firewall"`
	// HTTP bounds what the file server gives to any one network.
	HTTP HTTP `json:"http"`
	// Manage says who may run commands on the nodes.
	Manage Manage `json:"manage"`
	// Telemetry says where logs and metrics go.
	Telemetry Telemetry `json:"telemetry"`
	// Projects is the catalogue with the fleet's additions and overrides; in the
	// file only what differs is written.
	Projects map[string]project.Project `json:"projects"`
}

// MQTT is the broker of the push messages.
type MQTT struct {
	Broker string `json:"broker"` // host[:port]; empty means no pushes
	TLS    bool   `json:"tls"`
}

// ACME is the certificate authority; no directory means no certificates.
type ACME struct {
	Directory string `json:"directory"` // https URL
	Email     string `json:"email"`
	// CA is who vouches for the directory's server, in PEM form, beside those whom
	// everybody believes; empty for a public authority.
	CA string `json:"ca"`
}

// Update names the web folders that carry releases: all are asked what is newest, and
// files are fetched from the first that has them.
type Update struct {
	URLs []string `json:"urls"`
	// Window is the time of day, in UTC, in which nodes may reboot into a release,
	// like "02:00-05:00"; empty means any time.
	Window string `json:"window"`
}

// Firewall has prefixes, written like 192.0.2.0/24 or 2001:db8::/32. What is
// too wide to be meant is left out where it is used (package netd/firewall).
type Firewall struct {
	Allow  []string                `json:"allow"`  // who reaches metrics and management
	Block  []string                `json:"block"`  // who reaches nothing
	Limits map[string]project.Size `json:"limits"` // bytes a second to all of a prefix
}

// Manage opens the maintainers' channel (package manage) for whoever holds one of
// the keys, from the prefixes of Firewall.Allow only. No keys means no channel.
type Manage struct {
	Keys []string `json:"keys"` // as in OpenSSH's authorized_keys
	Port int      `json:"port"` // TCP; 22 if left out
}

// Telemetry names the collectors.
type Telemetry struct {
	Syslog   string `json:"syslog"`    // host[:port] of RFC 5424 over TLS
	SyslogCA string `json:"syslog_ca"` // PEM of whoever certifies it; empty: the public authorities
	Metrics  string `json:"metrics"`   // http or https URL
}

// Node is one machine.
type Node struct {
	// Name is one host name label.
	Name string
	// Hardware is the name of a file in hardware/.
	Hardware string
	// Sponsor hosts the machine.
	Sponsor Sponsor
	// DHCP means that addresses, gateways and perhaps dns come from the network.
	DHCP      bool
	Addresses []netip.Prefix
	Gateways  []Gateway
	DNS       []netip.Addr
	// Uplink is the network card to prefer, of a model that has several; empty
	// means the model's order. Without a cable in it another one serves. A bond
	// comes before it.
	Uplink string
	// Bond lists the network cards that form one 802.3ad link.
	Bond Bond
	// VLAN is the 802.1Q number of the node's network; 0 means untagged.
	VLAN int
	// MTU is in bytes; 0 means what the network says, or 1500.
	MTU int
	// Projects are hosted here, by catalogue name, without duplicates.
	Projects []string
	Location Location
	// Aliases are further names that lead to the node, for its certificate.
	Aliases []string
	// SyncRate bounds all transfers of this node together; 0 means no bound.
	SyncRate project.Size
	// DisableDSCP leaves the packets unmarked (otherwise CS1, scavenger).
	DisableDSCP bool
}

// Sponsor is who hosts a node.
type Sponsor struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// Gateway is a default route.
type Gateway struct {
	Addr netip.Addr
	// OnLink means that the gateway is reached directly although no address of
	// the node has it in its subnet (in the file: "203.0.113.1 onlink").
	OnLink bool
}

// Bond is a link aggregation; no members means none.
type Bond struct {
	Members []string `json:"members"`
}

// Location says where a node is, for geographic redirectors.
type Location struct {
	Continent     string `json:"continent"`
	Country       string `json:"country"`
	StateProvince string `json:"state_province"`
	City          string `json:"city"`
}

// Names returns the names that the node answers by, its own first; none without a
// domain.
func (c *Config) Names() []string {
	if c.Node.Name == "" || c.Fleet.Domain == "" {
		return nil
	}
	return append([]string{c.Hostname()}, c.Node.Aliases...)
}

// Hostname returns the node's full name, or what is known of it.
func (c *Config) Hostname() string {
	name := strings.Trim(c.Node.Name+"."+c.Fleet.Domain, ".")
	if name == "" {
		return "localhost"
	}
	return name
}

// Projects returns the node's projects in the order of its file, each with its
// upstream host filled in.
func (c *Config) Projects() []project.Project {
	out := make([]project.Project, 0, len(c.Node.Projects))
	for _, name := range c.Node.Projects {
		p, ok := c.Fleet.Projects[name]
		if !ok {
			continue
		}
		if p.Upstream.Host == "" {
			p.Upstream.Host = c.Fleet.Upstream
		}
		out = append(out, p)
	}
	return out
}

// Modules returns the rsync modules that the node serves, each once.
func (c *Config) Modules() []project.Module {
	var out []project.Module
	for _, p := range c.Projects() {
		same := func(m project.Module) bool { return m.Name == p.Module.Name }
		if !slices.ContainsFunc(out, same) {
			out = append(out, p.Module)
		}
	}
	return out
}
