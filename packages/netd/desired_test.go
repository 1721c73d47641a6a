package netd

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"micromirror/packages/netd/dhcp"
	"micromirror/packages/netd/router"
)

var comparable = cmp.Options{
	cmp.AllowUnexported(part{}, address{}, route{}, plan{}),
	cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}),
	cmpopts.EquateEmpty(),
}

func nobody(netip.Addr) bool { return false }

var (
	any4 = netip.MustParsePrefix("0.0.0.0/0")
	any6 = netip.MustParsePrefix("::/0")
	gw1  = netip.MustParseAddr("192.0.2.1")
	gw2  = netip.MustParseAddr("192.0.2.2")
	gw6  = netip.MustParseAddr("fe80::1")
)

func TestStaticComesBeforeWhatTheNetworkOffers(t *testing.T) {
	c := Config{Addresses: prefixes("192.0.2.10/24"), Gateways: hosts("192.0.2.1"), DNS: hosts("192.0.2.53"), MTU: 9000}
	lease := &dhcp.Lease{Address: netip.MustParsePrefix("192.0.2.10/24"), Gateways: hosts("198.51.100.1"), DNS: hosts("192.0.2.53", "192.0.2.54"), MTU: 1500,
		Routes: []dhcp.Route{{Dst: netip.MustParsePrefix("10.0.0.0/8"), Gateway: gw2}}}
	want := part{
		addresses: []address{{prefix: netip.MustParsePrefix("192.0.2.10/24"), source: Static}},
		routes: []route{
			{dst: any4, gateway: gw1, metric: metricStatic, source: Static},
			{dst: netip.MustParsePrefix("10.0.0.0/8"), gateway: gw2, metric: metricDHCP, source: DHCP},
			{dst: any4, gateway: netip.MustParseAddr("198.51.100.1"), onLink: true, metric: metricDHCP, source: DHCP},
		},
		dns: hosts("192.0.2.53", "192.0.2.54"), mtu: 9000,
	}
	if d := cmp.Diff(want, merge(nobody, c.static(), fromLease(lease)), comparable); d != "" {
		t.Errorf("merged (-want +got):\n%s", d)
	}
	if d := cmp.Diff(part{}, fromLease(nil), comparable); d != "" {
		t.Errorf("a lost lease still wants (-want +got):\n%s", d)
	}
}

func TestDeadGatewaysMoveBackUnlessAllAreDead(t *testing.T) {
	c := Config{Addresses: prefixes("192.0.2.10/24"), Gateways: hosts("192.0.2.1", "192.0.2.2", "fe80::1")}
	metrics := func(dead ...netip.Addr) map[netip.Addr]int {
		out := map[netip.Addr]int{}
		for _, r := range merge(func(a netip.Addr) bool {
			for _, d := range dead {
				if a == d {
					return true
				}
			}
			return false
		}, c.static()).routes {
			out[r.gateway] = r.metric
		}
		return out
	}
	for _, tc := range []struct {
		dead []netip.Addr
		want map[netip.Addr]int
	}{
		{nil, map[netip.Addr]int{gw1: 100, gw2: 101, gw6: 102}},
		{[]netip.Addr{gw1}, map[netip.Addr]int{gw1: 100 + metricPenalty, gw2: 101, gw6: 102}},
		{[]netip.Addr{gw1, gw2}, map[netip.Addr]int{gw1: 100, gw2: 101, gw6: 102}},
		{[]netip.Addr{gw6}, map[netip.Addr]int{gw1: 100, gw2: 101, gw6: 102}},
	} {
		if d := cmp.Diff(tc.want, metrics(tc.dead...), comparable); d != "" {
			t.Errorf("dead %v: metrics (-want +got):\n%s", tc.dead, d)
		}
	}
}

func TestRoutersMakeAddressesOnlyWhereTheyAreWanted(t *testing.T) {
	until := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	p := netip.MustParsePrefix("2001:db8:1::/64")
	s := router.State{
		Routers:  []router.Router{{Addr: gw6}},
		Prefixes: []router.Prefix{{Prefix: p, OnLink: true, Auto: true, Valid: until, Preferred: until}},
		MTU:      1400,
	}
	mac := []byte{0x52, 0x54, 0, 0x12, 0x34, 0x56}
	want := part{
		routes: []route{
			{dst: p, metric: metricRouter, source: Router},
			{dst: any6, gateway: gw6, metric: metricRouter + 100, source: Router},
		},
		mtu6: 1400,
	}
	if d := cmp.Diff(want, fromRouters(s, mac, false), comparable); d != "" {
		t.Errorf("beside static addresses (-want +got):\n%s", d)
	}
	want.addresses = []address{{prefix: netip.MustParsePrefix("2001:db8:1::5054:ff:fe12:3456/64"), source: Router, valid: until, preferred: until, host: true}}

	if d := cmp.Diff(want, fromRouters(s, mac, true), comparable); d != "" {
		t.Errorf("without (-want +got):\n%s", d)
	}
}

func TestPlan(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	mine, foreign, local := netip.MustParsePrefix("192.0.2.10/24"), netip.MustParsePrefix("198.51.100.7/24"), netip.MustParsePrefix("fe80::2/64")
	lease := address{prefix: netip.MustParsePrefix("2001:db8::2/64"), source: Router, valid: now.Add(time.Hour)}
	def := route{dst: any4, gateway: gw1, metric: 100, source: Static}
	old := route{dst: any4, gateway: gw2, metric: 512, source: DHCP}
	want := part{addresses: []address{{prefix: mine, source: Static}, lease}, routes: []route{def}, mtu: 1500}
	held := func(left time.Duration) observed {
		return observed{mtu: 1500, mtu6: 1500, routes: []route{def}, addresses: []kernelAddress{{prefix: mine}, {prefix: lease.prefix, valid: left}, {prefix: local}}}
	}
	for _, tc := range []struct {
		name    string
		have    observed
		waiting map[Source]bool
		want    plan
	}{
		{"all is well", held(time.Hour - time.Second), nil, plan{}},
		{"lifetime has drifted", held(30 * time.Minute), nil, plan{setAddresses: []address{lease}}},
		{"nothing there", observed{mtu: 1280}, nil, plan{setAddresses: want.addresses, setRoutes: []route{def}, mtu: 1500}},
		{"what is not wanted goes", observed{mtu: 1500, addresses: append(held(time.Hour).addresses, kernelAddress{prefix: foreign}), routes: []route{def, old}}, nil,
			plan{delAddresses: []netip.Prefix{foreign}, delRoutes: []route{old}}},
		{"but not before DHCP has spoken", observed{mtu: 1500, addresses: append(held(time.Hour).addresses, kernelAddress{prefix: foreign}), routes: []route{def, old}},
			map[Source]bool{DHCP: true}, plan{}},
	} {
		got := compare(now, want, tc.have, tc.waiting)
		if d := cmp.Diff(tc.want, got, comparable); d != "" || got.empty() != cmp.Equal(tc.want, plan{}, comparable) {
			t.Errorf("%s: plan (-want +got):\n%s", tc.name, d)
		}
	}
}
