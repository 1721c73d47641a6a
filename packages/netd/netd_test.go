package netd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"micromirror/packages/netd/firewall"
)

// static is the usual node: one address and gateway of each family.
func static() Config {
	return Config{
		Addresses: prefixes("192.0.2.10/24", "2001:db8:1::10/64"),
		Gateways:  hosts("192.0.2.1", "2001:db8:1::1"),
		DNS:       hosts("192.0.2.53", "2001:db8:1::53"),
	}
}

// gatewayUp makes the network's end answer as the gateway.
func (l *lab) gatewayUp(end string, addresses ...string) {
	l.t.Helper()
	for _, a := range addresses {
		l.inNet("ip", "addr", "add", a, "dev", end, "nodad")
	}
}

func TestStaticAddresses(t *testing.T) {
	l := newLab(t)
	l.gatewayUp("up0", "192.0.2.1/24", "2001:db8:1::1/64")
	l.start(static())
	l.onConsole("mm netd: address 192.0.2.10/24 on wan0 gateway 192.0.2.1")
	l.onConsole("mm netd: address 2001:db8:1::10/64 on wan0 gateway 2001:db8:1::1")
	l.reach(l.net, "192.0.2.10")
	l.reach(l.net, "2001:db8:1::10")
	l.nodeHas("ip route", "default via 192.0.2.1 dev wan0 proto static metric 100")
	l.nodeHas("ip -6 route", "default via 2001:db8:1::1 dev wan0 proto static metric 101")
	l.eventually("gateways answer", func() error {
		s, err := l.state()
		if err != nil {
			return err
		}
		if len(s.Gateways) != 2 || !s.Gateways[0].Reachable || !s.Gateways[1].Reachable || !s.Carrier || s.Error != "" {
			return fmt.Errorf("state = %+v", s)
		}
		return nil
	})
	conf, err := os.ReadFile(filepath.Join(l.run, "resolv.conf"))
	if err != nil || !strings.HasSuffix(string(conf), "nameserver 192.0.2.53\nnameserver 2001:db8:1::53\n") {
		t.Errorf("resolv.conf = %q, %v", conf, err)
	}
}

func TestKernelParametersOfTheUplink(t *testing.T) {
	l := newLab(t)
	l.start(static())
	l.onConsole("mm netd: address 192.0.2.10/24 on wan0 gateway 192.0.2.1")
	for name, want := range map[string]string{
		"net/ipv6/conf/wan0/accept_ra":       "0",
		"net/ipv6/conf/wan0/disable_ipv6":    "0",
		"net/ipv4/conf/wan0/arp_notify":      "1",
		"net/ipv4/tcp_congestion_control":    "bbr",
		"net/ipv4/tcp_notsent_lowat":         "1048576",
		"net/ipv4/tcp_slow_start_after_idle": "0",
	} {
		if got := strings.TrimSpace(l.inNode("cat", "/proc/sys/"+name)); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
}

func TestDriftIsRepaired(t *testing.T) {
	l := newLab(t)
	l.gatewayUp("up0", "192.0.2.1/24", "2001:db8:1::1/64")
	l.start(static())
	l.onConsole("mm netd: address 192.0.2.10/24 on wan0 gateway 192.0.2.1")
	l.onConsole("mm netd: address 2001:db8:1::10/64 on wan0 gateway 2001:db8:1::1")
	for _, damage := range []string{
		"ip addr del 192.0.2.10/24 dev wan0",
		"ip addr flush dev wan0",
		"ip route del default",
		"ip -6 route del default",
		"ip link set wan0 down",
		"ip addr add 198.51.100.7/24 dev wan0",
	} {
		l.inNode(strings.Fields(damage)...)
		l.nodeHas("ip addr show wan0", "state UP", "inet 192.0.2.10/24", "inet6 2001:db8:1::10/64")
		l.nodeHas("ip route", "default via 192.0.2.1")
		l.nodeHas("ip -6 route", "default via 2001:db8:1::1")
	}
	l.eventually("foreign address goes", func() error {
		if out := l.inNode("ip", "addr", "show", "wan0"); strings.Contains(out, "198.51.100.7") {
			return fmt.Errorf("still there:\n%s", out)
		}
		return nil
	})
}

func TestDeadGatewayMovesBehindTheOther(t *testing.T) {
	l := newLab(t)
	l.gatewayUp("up0", "192.0.2.1/24", "192.0.2.2/24")
	l.start(Config{Addresses: prefixes("192.0.2.10/24"), Gateways: hosts("192.0.2.1", "192.0.2.2")})
	l.nodeHas("ip route", "default via 192.0.2.1 dev wan0 proto static metric 100", "default via 192.0.2.2 dev wan0 proto static metric 101")
	reachable := func(want ...bool) {
		t.Helper()
		l.eventually("gateways", func() error {
			s, err := l.state()
			if err != nil {
				return err
			}
			var got []bool
			for _, g := range s.Gateways {
				got = append(got, g.Reachable)
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("reachable: %v, want %v", got, want)
			}
			return nil
		})
	}
	reachable(true, true)
	l.inNet("ip", "addr", "del", "192.0.2.1/24", "dev", "up0")
	l.gatewayUp("up0", "192.0.2.2/24")
	l.inNode("ip", "neigh", "flush", "dev", "wan0") // or it takes the kernel a minute to doubt
	l.nodeHas("ip route", "default via 192.0.2.1 dev wan0 proto static metric 4196", "default via 192.0.2.2 dev wan0 proto static metric 101")
	reachable(true, false)
	l.gatewayUp("up0", "192.0.2.1/24")
	l.nodeHas("ip route", "default via 192.0.2.1 dev wan0 proto static metric 100")
}

func TestFirewallIsUpAndComesBack(t *testing.T) {
	l := newLab(t)
	l.gatewayUp("up0", "192.0.2.1/24")
	c := static()
	c.Firewall = firewall.Default(true)
	c.Firewall.Block = prefixes("198.51.100.0/24", "0.0.0.0/0")
	l.start(c)
	l.onConsole("mm netd: address 192.0.2.10/24 on wan0 gateway 192.0.2.1")
	for range 2 {
		l.nodeHas("nft list ruleset", "policy drop", "ip saddr @block4", "elements = { 198.51.100.0/24 }", "ip dscp set cs1")
		l.inNode("nft", "flush", "ruleset")
	}
	if s, err := l.state(); err != nil || len(s.Firewall.Problems) != 1 || s.Firewall.Rules != 20 {
		t.Errorf("firewall = %+v, %v", s.Firewall, err)
	}
	l.reach(l.net, "192.0.2.10")
}

func TestUnusualGateways(t *testing.T) {
	for _, tc := range []struct {
		name, address, gateway, peer, peerRoute string
		want                                    string
	}{
		{"outside the subnet", "192.0.2.10/32", "203.0.113.1", "203.0.113.1/32", "192.0.2.10/32", "default via 203.0.113.1 dev wan0 proto static metric 100 onlink"},
		{"point to point", "192.0.2.10/31", "192.0.2.11", "192.0.2.11/31", "", "default via 192.0.2.11 dev wan0 proto static metric 100"},
		{"IPv6 point to point", "2001:db8:1::a/127", "2001:db8:1::b", "2001:db8:1::b/127", "", "default via 2001:db8:1::b dev wan0 proto static metric 100"},
		{"IPv6 host", "2001:db8:1::a/128", "2001:db8:2::1", "2001:db8:2::1/128", "2001:db8:1::a/128", "default via 2001:db8:2::1 dev wan0 proto static metric 100 onlink"},
		{"IPv6 link-local", "2001:db8:1::a/64", "fe80::1", "fe80::1/64", "2001:db8:1::/64", "default via fe80::1 dev wan0 proto static metric 100"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLab(t)
			l.gatewayUp("up0", tc.peer)
			if tc.peerRoute != "" {
				l.inNet("ip", "route", "add", tc.peerRoute, "dev", "up0")
			}
			l.start(Config{Addresses: prefixes(tc.address), Gateways: hosts(tc.gateway)})
			family := "-4"
			if strings.Contains(tc.address, "::") {
				family = "-6"
			}
			l.onConsole("mm netd: address " + tc.address + " on wan0 gateway " + tc.gateway)
			l.nodeHas("ip "+family+" route", tc.want)
			target, zone := tc.gateway, ""
			if strings.HasPrefix(target, "fe80") {
				zone = "%wan0"
			}
			l.reach(l.node, target+zone)
		})
	}
}

func TestTheCableInTheOtherSocket(t *testing.T) {
	l := newLab(t)
	l.cable("eth9", "up1")
	l.inNet("ip", "link", "set", "up0", "down")
	l.inNet("ip", "link", "set", "up1", "down")
	l.gatewayUp("up1", "192.0.2.1/24")
	l.start(static())
	l.nodeHas("ip addr show wan0", "NO-CARRIER", "inet6 2001:db8:1::10/64")
	l.inNet("ip", "link", "set", "up1", "up")
	l.onConsole("mm netd: address 192.0.2.10/24 on wan0 gateway 192.0.2.1")
	l.reach(l.node, "192.0.2.1")
	if out := l.inNode("ip", "addr"); strings.Count(out, "inet 192.0.2.10/24") != 1 {
		t.Errorf("the first socket keeps the address:\n%s", out)
	}
}
