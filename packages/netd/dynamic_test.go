package netd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"micromirror/packages/netd/firewall"
)

// dnsmasq serves DHCP, and with more arguments advertises itself as a router.
func (l *lab) dnsmasq(args ...string) (kill func()) {
	l.t.Helper()
	return l.peer(append([]string{"dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--user=root", "--group=root",
		"--interface=up0", "--bind-interfaces", "--dhcp-authoritative", "--log-dhcp", "--no-ping", "--pid-file=",
		"--dhcp-leasefile=" + filepath.Join(l.t.TempDir(), "leases")}, args...)...)
}

// radvd advertises the routers of a configuration for up0.
func (l *lab) radvd(config string) (kill func()) {
	l.t.Helper()
	dir := l.t.TempDir()
	file := filepath.Join(dir, "radvd.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		l.t.Fatal(err)
	}
	l.inNet("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
	return l.peer("radvd", "--nodaemon", "--logmethod=stderr", "--debug=3", "-C", file, "-p", filepath.Join(dir, "pid"))
}

func (l *lab) linkLocal(end string) string {
	l.t.Helper()
	var addr string
	l.eventually("link-local address", func() error {
		for _, w := range strings.Fields(l.inNet("ip", "-6", "addr", "show", "dev", end, "scope", "link", "-tentative")) {
			if a, ok := strings.CutSuffix(w, "/64"); ok {
				addr = a
				return nil
			}
		}
		return fmt.Errorf("none on %s", end)
	})
	return addr
}

func TestDHCP(t *testing.T) {
	l := newLab(t)
	l.gatewayUp("up0", "192.0.2.1/24")
	kill := l.dnsmasq("--dhcp-range=192.0.2.50,192.0.2.50,2m", "--dhcp-option=option:dns-server,192.0.2.53", "--dhcp-option=option:mtu,1400")
	l.start(Config{DHCP: true, Hostname: "node1"})
	l.onConsole("mm netd: address 192.0.2.50/24 on wan0 gateway 192.0.2.1")
	l.nodeHas("ip route", "default via 192.0.2.1 dev wan0 proto dhcp metric 512")
	l.nodeHas("ip link show wan0", "mtu 1400")
	l.eventually("name server", func() error {
		conf, err := os.ReadFile(filepath.Join(l.run, "resolv.conf"))
		if err == nil && !strings.Contains(string(conf), "nameserver 192.0.2.53\n") {
			err = fmt.Errorf("resolv.conf = %q", conf)
		}
		return err
	})
	// Renumbering while the link is out: the lease is confirmed as soon as it
	// is back, not half a lease later.
	kill()
	l.inNet("ip", "link", "set", "up0", "down")
	l.nodeHas("ip link show wan0", "NO-CARRIER")
	l.inNet("ip", "addr", "flush", "dev", "up0")
	l.inNet("ip", "link", "set", "up0", "up")
	l.gatewayUp("up0", "198.51.100.1/24")
	l.dnsmasq("--dhcp-range=198.51.100.50,198.51.100.50,2m")
	l.onConsole("mm netd: address 198.51.100.50/24 on wan0 gateway 198.51.100.1")
	if out := l.inNode("ip", "addr"); strings.Contains(out, "192.0.2.50") {
		t.Errorf("the old address is still there:\n%s", out)
	}
}

func TestRouterAdvertisements(t *testing.T) {
	l := newLab(t)
	kill := l.radvd(`interface up0 {
		AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultPreference low; AdvLinkMTU 1400;
		prefix 2001:db8:1::/64 { AdvOnLink on; AdvAutonomous on; AdvValidLifetime 7200; AdvPreferredLifetime 3600; };
		prefix 2001:db8:2::/64 { AdvOnLink on; AdvAutonomous off; };
		RDNSS 2001:db8:1::53 { };
	};`)
	l.start(Config{DHCP: true})
	router := l.linkLocal("up0")
	l.nodeHas("ip -6 addr show wan0", "inet6 2001:db8:1:", "scope global dynamic")
	l.nodeHas("ip -6 route", "default via "+router+" dev wan0 proto ra metric 1224",
		"2001:db8:1::/64 dev wan0 proto ra", "2001:db8:2::/64 dev wan0 proto ra")
	l.eventually("state", func() error {
		s, err := l.state()
		if err != nil {
			return err
		}
		if len(s.DNS) != 1 || len(s.Addresses) != 1 || s.Addresses[0].State != "ok" || len(s.Gateways) != 1 || s.MTU != 1500 {
			return fmt.Errorf("state = %+v", s)
		}
		return nil
	})
	if got := strings.TrimSpace(l.inNode("cat", "/proc/sys/net/ipv6/conf/wan0/mtu")); got != "1400" {
		t.Errorf("IPv6 MTU = %s", got)
	}
	// A router that says goodbye is left at once, its prefix stays usable.
	kill()
	l.radvd(`interface up0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultLifetime 0;
		prefix 2001:db8:3::/64 { AdvOnLink on; AdvAutonomous on; }; };`)
	l.nodeHas("ip -6 addr show wan0", "inet6 2001:db8:1:", "inet6 2001:db8:3:")
	l.eventually("no default route", func() error {
		if out := l.inNode("ip", "-6", "route"); strings.Contains(out, "default") {
			return fmt.Errorf("routes:\n%s", out)
		}
		return nil
	})
}

func TestStaticAddressWithAdvertisedRouter(t *testing.T) {
	l := newLab(t)
	l.radvd(`interface up0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4;
		prefix 2001:db8:1::/64 { AdvOnLink on; AdvAutonomous on; }; };`)
	l.start(Config{Addresses: prefixes("2001:db8:1::10/64")})
	router := l.linkLocal("up0")
	l.nodeHas("ip -6 route", "default via "+router)
	l.onConsole("mm netd: address 2001:db8:1::10/64 on wan0")
	if out := l.inNode("ip", "-6", "addr", "show", "wan0", "scope", "global"); strings.Count(out, "inet6") != 1 {
		t.Errorf("made itself more addresses:\n%s", out)
	}
}

// conflict waits until the one address that another machine has is reported.
func (l *lab) conflict(address string) {
	l.t.Helper()
	l.eventually("conflict", func() error {
		s, err := l.state()
		if err != nil {
			return err
		}
		for _, a := range s.Addresses {
			if a.Address.String() == address && a.State == "conflict" {
				return nil
			}
		}
		return fmt.Errorf("state = %+v", s.Addresses)
	})
}

func TestDuplicateAddressIsReportedAndTheOtherFamilyServes(t *testing.T) {
	for _, tc := range []struct{ name, taken, serves string }{
		{"IPv6", "2001:db8:1::10/64", "address 192.0.2.10/24 on wan0 gateway 192.0.2.1"},
		{"IPv4", "192.0.2.10/24", "address 2001:db8:1::10/64 on wan0 gateway 2001:db8:1::1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLab(t)
			l.gatewayUp("up0", tc.taken)
			l.start(static())
			l.onConsole("mm netd: " + tc.serves)
			l.conflict(tc.taken)
			if out := l.inNode("ip", "-4", "addr", "show", "wan0"); tc.name == "IPv4" && strings.Contains(out, "192.0.2.10") {
				t.Errorf("took an address that is in use:\n%s", out)
			}
		})
	}
}

func TestRouterThatAnswersForAllAddressesIsNoConflict(t *testing.T) {
	l := newLab(t)
	l.gatewayUp("up0", "192.0.2.1/32")
	// Proxy ARP answers for what is routed elsewhere.
	l.inNet("sysctl", "-qw", "net.ipv4.conf.up0.proxy_arp=1", "net.ipv4.ip_forward=1", "net.ipv4.neigh.up0.proxy_delay=0")
	l.inNet("ip", "route", "add", "192.0.2.0/24", "dev", "lo")
	l.start(Config{Addresses: prefixes("192.0.2.10/24"), Gateways: hosts("192.0.2.1")})
	l.onConsole("mm netd: address 192.0.2.10/24 on wan0 gateway 192.0.2.1")
}

func TestWrongGatewayIsRescuedByDHCP(t *testing.T) {
	l := newLab(t)
	l.patience, l.working = time.Second, filepath.Join(t.TempDir(), "working.json")
	l.gatewayUp("up0", "198.51.100.1/24")
	l.dnsmasq("--dhcp-range=198.51.100.50,198.51.100.50,2m")
	c := static()
	c.Firewall = firewall.Default(true)
	l.start(c)
	l.nodeHas("ip addr show wan0", "inet 198.51.100.50/24", "inet 192.0.2.10/24")
	l.nodeHas("ip route", "default via 198.51.100.1")
	if out := l.inNode("nft", "list", "ruleset"); strings.Contains(out, "dport 80") {
		t.Errorf("serves although the addresses are wrong:\n%s", out)
	}
	// The host puts his side right.
	l.gatewayUp("up0", "192.0.2.1/24")
	l.onConsole("mm netd: network as configured again")
	l.nodeHas("nft list ruleset", "tcp dport 80")
	l.eventually("the lease goes", func() error {
		if out := l.inNode("ip", "addr"); strings.Contains(out, "198.51.100.50") {
			return fmt.Errorf("still there:\n%s", out)
		}
		return nil
	})
}

func TestNewConfigurationThatLosesTheGatewayIsRolledBack(t *testing.T) {
	l := newLab(t)
	l.working = filepath.Join(t.TempDir(), "working.json")
	l.gatewayUp("up0", "192.0.2.1/24", "2001:db8:1::1/64")
	l.start(static())
	l.eventually("configuration works", func() error { _, err := os.Stat(l.working); return err })
	l.stop()
	l.patience = 5 * time.Second // longer than it takes to check an address
	l.start(Config{Addresses: prefixes("203.0.113.10/24"), Gateways: hosts("203.0.113.1")})
	l.nodeHas("ip addr show wan0", "inet 203.0.113.10/24")
	l.nodeHas("ip addr show wan0", "inet 192.0.2.10/24", "inet6 2001:db8:1::10/64")
	l.nodeHas("ip route", "default via 192.0.2.1")
	l.reach(l.node, "192.0.2.1")
	if out := l.inNode("ip", "addr"); strings.Contains(out, "203.0.113.10") {
		t.Errorf("the new address is still there:\n%s", out)
	}
}

func TestNewAddressesAreAnnounced(t *testing.T) {
	l := newLab(t)
	l.gatewayUp("up0", "192.0.2.1/24", "2001:db8:1::1/64")
	// Makes the network remember what it was not asking for.
	l.inNet("sysctl", "-qw", "net.ipv4.conf.up0.arp_accept=1", "net.ipv6.conf.up0.forwarding=1", "net.ipv6.conf.up0.accept_untracked_na=1")
	l.start(Config{Addresses: prefixes("192.0.2.10/24", "2001:db8:1::10/64")}) // no gateway: nothing else is sent
	l.eventually("announcements", func() error {
		out := l.inNet("ip", "neigh", "show", "dev", "up0")
		for _, a := range []string{"192.0.2.10 lladdr", "2001:db8:1::10 lladdr"} {
			if !strings.Contains(out, a) {
				return fmt.Errorf("no %q in:\n%s", a, out)
			}
		}
		return nil
	})
}
