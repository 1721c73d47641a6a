package netd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"micromirror/packages/hostdeps"
)

// bird runs BIRD, whose router advertisements have the preference and the
// lifetimes that a host's real router sends.
func (l *lab) bird(interfaceOptions string) (kill func()) {
	l.t.Helper()
	root, err := hostdeps.Unpacked(l.t.Context(), filepath.Join("../..", hostdeps.UnpackedDir), "bird2")
	if err == nil {
		root, err = filepath.Abs(root)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	dir := l.t.TempDir()
	file := filepath.Join(dir, "bird.conf")
	config := "router id 192.0.2.1;\nprotocol device {}\nprotocol radv {\n\tinterface \"up0\" {\n" + interfaceOptions + "\n\t};\n}\n"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		l.t.Fatal(err)
	}
	l.inNet("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
	return l.peer(filepath.Join(root, "usr/sbin/bird"), "-f", "-c", file, "-s", filepath.Join(dir, "ctl"), "-P", filepath.Join(dir, "pid"))
}

// BIRD as the router of a node with static addresses: its gateway is taken from
// the advertisements, prefers what the router says, and goes with it.
func TestBirdAdvertisesTheGateway(t *testing.T) {
	l := newLab(t)
	const options = `max ra interval 4; min ra interval 3; link mtu 1400; default preference high;
		prefix 2001:db8:1::/64 { autonomous off; };`
	kill := l.bird(options + "\ndefault lifetime 600;")
	l.start(Config{Addresses: prefixes("2001:db8:1::10/64")})
	router := l.linkLocal("up0")
	l.onConsole("mm netd: address 2001:db8:1::10/64 on wan0")
	l.nodeHas("ip -6 route", "default via "+router+" dev wan0 proto ra metric 1024")
	if out := l.inNode("ip", "-6", "addr", "show", "wan0", "scope", "global"); strings.Count(out, "inet6") != 1 {
		t.Errorf("a static node took further addresses:\n%s", out)
	}
	kill()
	l.bird(options + "\ndefault lifetime 0;")
	l.eventually("no default route", func() error {
		if out := l.inNode("ip", "-6", "route"); strings.Contains(out, "default") {
			return fmt.Errorf("routes:\n%s", out)
		}
		return nil
	})
}

// What a stranger's tools say about the node's neighbour discovery: it answers
// for its own addresses and for no other.
func TestNeighbourDiscoveryAnswers(t *testing.T) {
	l := newLab(t)
	l.gatewayUp("up0", "192.0.2.1/24", "2001:db8:1::1/64")
	l.start(static())
	l.onConsole("mm netd: address 2001:db8:1::10/64 on wan0 gateway 2001:db8:1::1")
	mac := strings.TrimSpace(l.inNode("cat", "/sys/class/net/wan0/address"))
	if out := l.inNet("ndisc6", "-q", "2001:db8:1::10", "up0"); !strings.EqualFold(strings.TrimSpace(out), mac) {
		t.Errorf("the node's address is answered by %q, want %s", out, mac)
	}
	l.inNet("sh", "-c", "! ndisc6 -q -r 1 -w 300 2001:db8:1::11 up0")
}
