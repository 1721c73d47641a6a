package limit

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/node"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func rules() Rules {
	r := Default()
	r.Connections, r.ConnectionsPerNetwork, r.RequestsPerSecond, r.Burst = 5, 2, 10, 3
	r.Blocked = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	r.BlockedAgents = []string{"BadBot"}
	return r
}

func TestAdmit(t *testing.T) {
	table := NewTable(rules())
	clients := map[string]*Client{}
	for _, step := range []struct {
		do, addr string
		want     int
	}{
		{"open", "192.0.2.1", 0}, {"open", "192.0.2.2", 0},
		{"open", "192.0.2.3", 429}, // same /24
		{"open", "::ffff:192.0.2.9", 429},
		{"open", "192.0.3.1", 0},
		{"open", "2001:db8::1", 0},
		{"open", "198.51.100.7", 403},
		{"open", "127.0.0.1", 0},
		{"open", "127.0.0.2", 503}, // node full
		{"close", "192.0.2.1", 0},
		{"open", "192.0.2.3", 0},
		{"close", "127.0.0.1", 0},
		{"open", "2001:db8:0:ff::2", 0}, // same /56
	} {
		if step.do == "close" {
			clients[step.addr].Done()
			continue
		}
		c, got := table.Admit(netip.MustParseAddr(step.addr), start)
		if got != step.want {
			t.Errorf("%s: %d, want %d", step.addr, got, step.want)
		}
		clients[step.addr] = c
	}
	if table.Open() != 5 {
		t.Errorf("%d open, want 5", table.Open())
	}
}

func TestRequests(t *testing.T) {
	table := NewTable(rules())
	a, _ := table.Admit(netip.MustParseAddr("192.0.2.1"), start)
	b, _ := table.Admit(netip.MustParseAddr("192.0.2.2"), start)
	free, _ := table.Admit(netip.MustParseAddr("::1"), start)
	var got []int
	for _, c := range []*Client{a, b, a, b, free, a} {
		got = append(got, c.Request(start, []byte("apt")))
	}
	got = append(got, a.Request(start.Add(100*time.Millisecond), nil), b.Request(start.Add(100*time.Millisecond), nil))
	got = append(got, free.Request(start, []byte("a BadBot/1.0")))
	if diff := cmp.Diff([]int{0, 0, 0, 429, 0, 429, 0, 429, 403}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestQuietNetworksAreForgotten(t *testing.T) {
	table := NewTable(Default())
	for i := range 100 {
		c, _ := table.Admit(netip.AddrFrom4([4]byte{10, byte(i), 0, 1}), start)
		c.Done()
	}
	table.Admit(netip.MustParseAddr("192.0.2.1"), start.Add(2*time.Minute))
	if n := len(table.networks); n != 1 {
		t.Errorf("%d networks remembered, want 1", n)
	}
}

func TestOf(t *testing.T) {
	none := Of(&node.Fleet{})
	if diff := cmp.Diff(Default(), none, byValue()); diff != "" {
		t.Errorf("a fleet that sets none: -want +got:\n%s", diff)
	}
	got := Of(&node.Fleet{
		Firewall: node.Firewall{Allow: []string{"203.0.113.0/24"}},
		HTTP: node.HTTP{ConnectionsPerNetwork: 7, RequestsPerSecond: 9000, Blocked: []string{"192.0.2.0/24", "no prefix"},
			Exempt: []string{"2001:db8::1/32"}, BlockedAgents: []string{"BadBot"}},
	})
	want := Default()
	want.ConnectionsPerNetwork, want.RequestsPerSecond, want.Burst = 7, 9000, 9000
	want.Blocked = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	want.Exempt = append(want.Exempt, netip.MustParsePrefix("2001:db8::/32"))
	want.Metrics = append(want.Metrics, netip.MustParsePrefix("203.0.113.0/24"))
	want.BlockedAgents = []string{"BadBot"}
	if diff := cmp.Diff(want, got, byValue()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	table := NewTable(got)
	for addr, want := range map[string]bool{"203.0.113.9": true, "127.0.0.1": true, "192.0.2.1": false} {
		if got := table.MayReadMetrics(netip.MustParseAddr(addr)); got != want {
			t.Errorf("metrics for %s: %v, want %v", addr, got, want)
		}
	}
}

func byValue() cmp.Option { return cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }) }

func TestHandshakeCountsAsManyRequests(t *testing.T) {
	r := rules()
	r.RequestsPerSecond, r.Burst = 10, 50
	table := NewTable(r)
	c, _ := table.Admit(netip.MustParseAddr("192.0.2.1"), start)
	var got []bool
	for _, after := range []time.Duration{0, 0, 0, time.Second, 2 * time.Second} { // 50 tokens, 20 a handshake, 10 a second
		got = append(got, c.Handshake(start.Add(after)))
	}
	if diff := cmp.Diff([]bool{true, true, false, true, false}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	exempt, _ := table.Admit(netip.MustParseAddr("127.0.0.1"), start)
	for range 100 {
		if !exempt.Handshake(start) {
			t.Fatal("an exempt network is bounded")
		}
	}
}
