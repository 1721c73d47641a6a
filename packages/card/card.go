// Package card makes the page that lies in the parcel with a node: what its host
// has to do, what the box needs from the network, and whom to write to.
//
// Promise: one page of A4 or Letter, made from the node's and the fleet's files
// alone, so that it cannot disagree with what the box does; self-contained HTML
// that prints in black on white. A box is told to nobody's firewall that does not
// need it: the table of connections lists what the node's configuration uses and
// nothing else. The package opens no ports and writes only what it is given.
package card

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"

	"micromirror/packages/hardware"
	"micromirror/packages/node"
	"micromirror/packages/project"
)

// Card is what the page says beside the configuration.
type Card struct {
	Config  *node.Config
	Model   *hardware.Model // nil if its file is not at hand
	MAC     string          // of the port to use, if known
	Traffic string          // what to expect, in words; empty for what can be said of every node
}

// connection is a line of the table for the host's network people.
type connection struct {
	Protocol, Port, Peer, Why string
}

// page is what the template shows.
type page struct {
	*node.Config
	Host, Model, Serial, Button, MAC, Port, Traffic, Mark string

	Addresses, Gateways, DNS []string
	VLAN                     int
	Projects                 []project.Project
	Size                     string
	In, Out                  []connection
}

//go:embed card.html
var source string

// Write writes the page as HTML.
func (c *Card) Write(w io.Writer) error {
	t, err := template.New("card").Parse(source)
	if err != nil {
		return fmt.Errorf("card: %w", err)
	}
	if err := t.Execute(w, c.page()); err != nil {
		return fmt.Errorf("card: %w", err)
	}
	return nil
}

func (c *Card) page() *page {
	n := c.Config.Node
	p := &page{Config: c.Config, Host: c.Config.Hostname(), Model: n.Hardware, MAC: c.MAC, VLAN: n.VLAN,
		Projects: c.Config.Projects(), In: inbound(), Out: outbound(c.Config), Port: c.port(), Mark: mark(n.DisableDSCP)}
	if c.Model != nil {
		p.Model, p.Serial, p.Button = c.Model.Title, c.Model.Console.Serial, c.Model.Button
	}
	var size project.Size
	for _, t := range p.Projects {
		size += t.Size
	}
	p.Size = fmt.Sprintf("%.0f GB", float64(size)/1e9)
	if size > 1e12 {
		p.Size = fmt.Sprintf("%.1f TB", float64(size)/1e12)
	}
	p.Traffic = cmp.Or(c.Traffic, "as much as users near you ask for: little most of the time, up to the speed of the port on the day of a release")
	for _, a := range n.Addresses {
		p.Addresses = append(p.Addresses, a.String())
	}
	for _, g := range n.Gateways {
		p.Gateways = append(p.Gateways, g.Addr.String())
	}
	for _, a := range n.DNS {
		p.DNS = append(p.DNS, a.String())
	}
	return p
}

// port says where the cable goes.
func (c *Card) port() string {
	if members := c.Config.Node.Bond.Members; len(members) > 0 {
		return fmt.Sprintf("%d cables, as one 802.3ad link (LACP, fast), to %s", len(members), strings.Join(members, " and "))
	}
	var cards []string
	if c.Model != nil {
		for _, d := range c.Model.Devices {
			if d.Role == hardware.Network && strings.HasPrefix(d.ID, "pci:") {
				cards = append(cards, d.Name)
			}
		}
	}
	if len(cards) > 1 {
		return "one cable, to any network port (" + strings.Join(cards, "; ") + "): the box uses the port with a link"
	}
	return "one cable, to the network port"
}

func mark(disabled bool) string {
	if disabled {
		return "not marked"
	}
	return "marked DSCP CS1 (scavenger, 8): your network may drop it first. Tell us if it should not be marked"
}

// inbound is the same for every node.
func inbound() []connection {
	return []connection{
		{"TCP", "80, 443", "anywhere", "downloads by HTTP and HTTPS; the certificate is checked on port 80"},
		{"TCP", "873", "anywhere", "rsync: projects' checkers, other mirrors"},
		{"ICMP, ICMPv6", "", "anywhere", "ping, path MTU; please do not filter “packet too big”"},
		{"UDP", "33434–33524", "anywhere", "traceroute"},
	}
}

// outbound is what the configuration makes the node ask for.
func outbound(c *node.Config) []connection {
	var out []connection
	add := func(protocol, host, port, why string) {
		if host == "" {
			return
		}
		i := slices.IndexFunc(out, func(n connection) bool { return n.Protocol == protocol && n.Port == port && n.Why == why })
		switch {
		case i < 0:
			out = append(out, connection{protocol, port, host, why})
		case !slices.Contains(strings.Split(out[i].Peer, ", "), host):
			out[i].Peer += ", " + host
		}
	}
	for _, p := range c.Projects() {
		host, port := hostPort(p.Upstream.Host, "873")
		add("TCP", host, port, "rsync: what it mirrors")
	}
	for _, u := range c.Fleet.Update.URLs {
		host, port := ofURL(u)
		add("TCP", host, port, "signed updates")
	}
	host, port := ofURL(c.Fleet.ACME.Directory)
	add("TCP", host, port, "its certificate (ACME)")
	host, port = hostPort(c.Fleet.MQTT.Broker, map[bool]string{true: "8883", false: "1883"}[c.Fleet.MQTT.TLS])
	add("TCP", host, port, "word of new files (MQTT)")
	for _, a := range c.Node.DNS {
		add("UDP, TCP", a.String(), "53", "DNS")
	}
	for _, n := range c.Fleet.NTP {
		add("UDP", n, "123", "time (NTP)")
	}
	host, port = hostPort(c.Fleet.Telemetry.Syslog, "6514")
	add("TCP", host, port, "log (syslog over TLS)")
	host, port = ofURL(c.Fleet.Telemetry.Metrics)
	add("TCP", host, port, "its figures")
	return out
}

func hostPort(s, port string) (string, string) {
	if h, p, err := net.SplitHostPort(s); err == nil {
		return h, p
	}
	return s, port
}

func ofURL(s string) (host, port string) {
	u, err := url.Parse(s)
	if err != nil {
		return "", "" // the files were checked
	}
	return u.Hostname(), cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
}
