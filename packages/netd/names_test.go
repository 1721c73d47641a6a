package netd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netns"
)

func TestAlternate(t *testing.T) {
	got := alternate(hosts("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"))
	if d := cmp.Diff(hosts("192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.3"), got, cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// resolver answers all questions with nothing, at an address of the network.
func (l *lab) resolver(address string) (kill func()) {
	l.t.Helper()
	var conn net.PacketConn
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with its namespace
		ns, err := netns.GetFromName(l.net)
		if err == nil {
			err = errors.Join(netns.Set(ns), ns.Close())
		}
		if err == nil {
			conn, err = net.ListenPacket("udp", netip.AddrPortFrom(netip.MustParseAddr(address), 53).String())
		}
		made <- err
	}()
	if err := <-made; err != nil {
		l.t.Fatal(err)
	}
	kill = onceOnly(func() { conn.Close() })
	l.t.Cleanup(kill)
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			const response = 0x80 // of the third byte
			b[2] |= response
			if _, err := conn.WriteTo(b[:n], from); err != nil {
				return
			}
		}
	}()
	return kill
}

// uses waits until the first name servers are these.
func (l *lab) uses(servers ...string) {
	l.t.Helper()
	want := "nameserver " + strings.Join(servers, "\nnameserver ") + "\n"
	l.eventually(want, func() error {
		conf, err := os.ReadFile(filepath.Join(l.run, "resolv.conf"))
		if err == nil && !strings.Contains(string(conf), "attempts:2\n"+want) {
			err = fmt.Errorf("resolv.conf = %q", conf)
		}
		return err
	})
}

// Those that were given come first, those that the network offers help out, and
// then those of last resort.
func TestNameServersThatAnswer(t *testing.T) {
	l := newLab(t)
	l.gatewayUp("up0", "192.0.2.1/24", "192.0.2.153/24", "2001:db8:1::1/64", "2001:db8:1::53/64")
	c := static()
	c.DNS = hosts("192.0.2.52", "192.0.2.53")
	c.LastDNS = hosts("192.0.2.153")
	last := l.resolver("192.0.2.153")
	l.start(c)
	l.uses("192.0.2.153", "192.0.2.52")
	last()
	l.radvd(`interface up0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; RDNSS 2001:db8:1::53 { }; };`)
	l.resolver("2001:db8:1::53")
	l.uses("2001:db8:1::53", "192.0.2.52")
	if out := l.inNode("ip", "-6", "route"); strings.Contains(out, "proto ra") {
		t.Errorf("the advertised router is used beside the one that was given:\n%s", out)
	}
	l.gatewayUp("up0", "192.0.2.53/24")
	l.resolver("192.0.2.53")
	l.uses("192.0.2.53", "192.0.2.52")
}
