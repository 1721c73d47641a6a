package firewall

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestCheck(t *testing.T) {
	c := Config{
		Block: prefixes("192.0.2.77/24", "192.0.2.128/25", "0.0.0.0/0", "10.0.0.0/7", "2001:db8::/32", "::/0", "127.0.0.0/8", "ff00::/16", "::ffff:192.0.2.0/120", "198.51.100.0/24"),
		Allow: []netip.Prefix{{}},
		Limits: []Limit{
			{netip.MustParsePrefix("203.0.113.0/24"), 1 << 20}, {netip.MustParsePrefix("203.0.113.0/24"), 5}, {netip.MustParsePrefix("::/0"), 1 << 20},
		},
	}
	got, problems := c.Check()
	want := Config{
		Block:  prefixes("192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"),
		Limits: []Limit{{netip.MustParsePrefix("203.0.113.0/24"), 1 << 20}},
	}
	if d := cmp.Diff(fmt.Sprint(want), fmt.Sprint(got)); d != "" {
		t.Errorf("configuration (-want +got):\n%s", d)
	}
	if len(problems) != 9 {
		t.Errorf("%d problems: %s", len(problems), strings.Join(problems, "\n"))
	}
}

func FuzzCheckedListsCanBeApplied(f *testing.F) {
	f.Add("192.0.2.0/24 192.0.2.0/25 255.255.255.0/24 ffff:ffff::/32 2001:db8::1/128")
	f.Fuzz(func(t *testing.T, text string) {
		var c Config
		for _, w := range strings.Fields(text) {
			if p, err := netip.ParsePrefix(w); err == nil {
				c.Block = append(c.Block, p)
			}
		}
		c, _ = c.Check()
		for i, p := range c.Block {
			if i > 0 && (c.Block[i-1].Overlaps(p) || c.Block[i-1].Compare(p) >= 0) {
				t.Errorf("%v and %v", c.Block[i-1], p)
			}
			if end := after(p); end.IsValid() && (p.Contains(end) || !p.Contains(end.Prev())) {
				t.Errorf("after %v comes %v", p, end)
			}
		}
	})
}

// namespaces makes a node and its network, joined by a cable.
func namespaces(t *testing.T) (node, world string) {
	t.Helper()
	node, world = fmt.Sprintf("mm-fw-node-%d", os.Getpid()), fmt.Sprintf("mm-fw-net-%d", os.Getpid())
	for _, line := range []string{
		"netns add " + node, "netns add " + world,
		"-n " + node + " link set lo up",
		"-n " + node + " link add wan0 type veth peer name up0 netns " + world,
		"-n " + node + " addr add 192.0.2.10/24 dev wan0", "-n " + node + " addr add 2001:db8::10/64 dev wan0 nodad",
		"-n " + world + " addr add 192.0.2.1/24 dev up0", "-n " + world + " addr add 2001:db8::1/64 dev up0 nodad",
		"-n " + world + " addr add 192.0.2.66/24 dev up0",
		"-n " + node + " link set wan0 up", "-n " + world + " link set up0 up",
	} {
		if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", line, err, out)
		}
	}
	t.Cleanup(func() {
		exec.Command("ip", "netns", "del", node).Run()
		exec.Command("ip", "netns", "del", world).Run()
	})
	return node, world
}

// inside runs f in a namespace, on a thread that is thrown away afterwards.
func inside(t *testing.T, name string, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		ns, err := netns.GetFromName(name)
		if err == nil {
			defer ns.Close()
			err = netns.Set(ns)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, name string) *Firewall {
	t.Helper()
	ns, err := netns.GetFromName(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return New(nftables.WithNetNSFd(int(ns)))
}

// reaches says whether a port can be reached from a source address. If it
// should be, there are several attempts: the link has just come up.
func reaches(t *testing.T, ns, source, target string, want bool) (ok bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		ok = once(t, ns, source, target)
		if ok || !want || time.Now().After(deadline) {
			return ok
		}
	}
}

func once(t *testing.T, ns, source, target string) (ok bool) {
	t.Helper()
	inside(t, ns, func() error {
		d := net.Dialer{Timeout: 300 * time.Millisecond, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
		c, err := d.Dial("tcp", target)
		if ok = err == nil; ok {
			return c.Close()
		}
		if e := net.Error(nil); errors.As(err, &e) && e.Timeout() {
			return nil
		}
		return fmt.Errorf("dial %s: %w", target, err)
	})
	return ok
}

func TestTraffic(t *testing.T) {
	node, world := namespaces(t)
	inside(t, node, func() error {
		for _, port := range []string{"80", "22", "9100"} {
			l, err := net.Listen("tcp", ":"+port)
			if err != nil {
				return err
			}
			t.Cleanup(func() { l.Close() })
		}
		return nil
	})
	c := Default(true)
	c.Block, c.Allow, c.Private = prefixes("192.0.2.66/32"), prefixes("192.0.2.1/32", "2001:db8::1/128"), []uint16{9100}
	f := open(t, node)
	for range 2 { // replacing is like applying
		if err := f.Apply(c); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		source, target string
		want           bool
	}{
		{"192.0.2.1", "192.0.2.10:80", true},
		{"2001:db8::1", "[2001:db8::10]:80", true},
		{"192.0.2.1", "192.0.2.10:22", false},
		{"2001:db8::1", "[2001:db8::10]:22", false},
		{"192.0.2.66", "192.0.2.10:80", false},
		{"192.0.2.1", "192.0.2.10:9100", true},
		{"2001:db8::1", "[2001:db8::10]:9100", true},
		{"192.0.2.66", "192.0.2.10:9100", false},
	} {
		if got := reaches(t, world, tc.source, tc.target, tc.want); got != tc.want {
			t.Errorf("%s to %s: %v", tc.source, tc.target, got)
		}
	}
	before, err := f.Counters()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"http", blocked, dropped, marked} {
		if before[name].Packets == 0 || before[name].Bytes == 0 {
			t.Errorf("counter %s = %+v", name, before[name])
		}
	}
	if err := f.Apply(Default(true)); err != nil {
		t.Fatal(err)
	}
	if after, err := f.Counters(); err != nil || after["http"].Packets < before["http"].Packets {
		t.Errorf("counters after a replacement: %v, %v", after, err)
	}
	if !reaches(t, world, "192.0.2.66", "192.0.2.10:80", true) {
		t.Error("a prefix stays blocked that no list names any more")
	}
}

func TestListsDoNotLockTheNodeOut(t *testing.T) {
	node, world := namespaces(t)
	inside(t, world, func() error {
		l, err := net.Listen("tcp", ":8000")
		t.Cleanup(func() { l.Close() })
		return err
	})
	c := Default(false)
	c.Block = prefixes("192.0.2.0/24", "2001:db8::/32")
	if err := open(t, node).Apply(c); err != nil {
		t.Fatal(err)
	}
	for source, target := range map[string]string{"192.0.2.10": "192.0.2.1:8000", "2001:db8::10": "[2001:db8::1]:8000"} {
		if !reaches(t, node, source, target, true) {
			t.Errorf("the node does not reach %s", target)
		}
	}
}

// received returns the type of service of a datagram that the node sends.
func received(t *testing.T, node, world string) (tos byte) {
	t.Helper()
	fds := make(chan int, 1)
	inside(t, world, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		t.Cleanup(func() { unix.Close(fd) })
		fds <- fd
		tv := unix.Timeval{Sec: 5}
		return errors.Join(unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVTOS, 1), unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, &unix.SockaddrInet4{Port: 4000}))
	})
	inside(t, node, func() error {
		c, err := net.Dial("udp", "192.0.2.1:4000")
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("hello"))
		return err
	})
	buf, control := make([]byte, 64), make([]byte, 256)
	n, cn, _, _, err := unix.Recvmsg(<-fds, buf, control, 0)
	if err != nil || string(buf[:n]) != "hello" {
		t.Fatalf("received %q, %v", buf[:n], err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:cn])
	if err != nil || len(messages) != 1 {
		t.Fatalf("control messages %v, %v", messages, err)
	}
	return messages[0].Data[0]
}

func TestMark(t *testing.T) {
	node, world := namespaces(t)
	f := open(t, node)
	for _, on := range []bool{true, false} {
		if err := f.Apply(Default(on)); err != nil {
			t.Fatal(err)
		}
		want := byte(0)
		if on {
			want = 0x20 // CS1, checksum intact or it would not have arrived
		}
		if got := received(t, node, world); got != want {
			t.Errorf("mark %v: type of service %#x, want %#x", on, got, want)
		}
	}
}

// The rules as nft reads them: a second opinion on the bytes we send.
func TestRulesAsNftReadsThem(t *testing.T) {
	node, _ := namespaces(t)
	c := Default(true)
	c.Block, c.Allow, c.Private = prefixes("198.51.100.0/24", "255.255.255.0/24", "2001:db8:bad::/48"), prefixes("192.0.2.0/24"), []uint16{9100}
	c.Limits = []Limit{{netip.MustParsePrefix("203.0.112.0/20"), 1 << 20}, {netip.MustParsePrefix("2001:db8:51::/48"), 2 << 20}}
	if err := open(t, node).Apply(c); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "ip", "netns", "exec", node, "nft", "list", "table", "inet", Table).CombinedOutput()
	if err != nil {
		t.Fatal(err, string(out))
	}
	for _, want := range []string{
		"elements = { 198.51.100.0/24, 255.255.255.0/24 }", "elements = { 2001:db8:bad::/48 }",
		"type filter hook input priority filter; policy drop;",
		"tcp dport 80 notrack", "tcp sport 873 notrack",
		"iiftype loopback accept", "ct state established,related accept",
		"meta l4proto ipv6-icmp accept", "meta l4proto icmp accept",
		`ip saddr @block4 counter name "blocked" drop`, `ip6 saddr @block6 counter name "blocked" drop`,
		"udp dport 33434-33524 accept", `tcp dport 443 counter name "https" accept`,
		"ip saddr @allow4 tcp dport 9100 accept",
		`ip daddr 203.0.112.0/20 limit rate over 1 mbytes/second burst 104857 bytes counter name "limited" drop`,
		`ip6 daddr 2001:db8:51::/48 limit rate over 2 mbytes/second`,
		`ip dscp set cs1`, `ip6 dscp set cs1`,
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q", want)
		}
	}
	if t.Failed() {
		t.Log(string(out))
	}
}

func TestLongListsAreReplacedAtOnce(t *testing.T) {
	node, _ := namespaces(t)
	c := Default(true)
	for i := range maxEntries {
		c.Block = append(c.Block, netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i >> 8), byte(i), 0}), 25))
	}
	c, problems := c.Check()
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	f := open(t, node)
	for range 2 {
		if err := f.Apply(c); err != nil {
			t.Fatal(err)
		}
	}
}
