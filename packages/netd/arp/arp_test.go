package arp

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	self   = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	other  = net.HardwareAddr{2, 0, 0, 0, 0, 2}
	router = net.HardwareAddr{2, 0, 0, 0, 0, 3}
	addr   = netip.MustParseAddr("192.0.2.10")
	none   = netip.IPv4Unspecified()
)

func TestHolderOf(t *testing.T) {
	for name, tc := range map[string]struct {
		m    message
		want net.HardwareAddr
	}{
		"answer":               {message{reply, other, self, addr, none}, other},
		"their announcement":   {message{request, other, make([]byte, 6), addr, addr}, other},
		"their probe":          {message{request, other, make([]byte, 6), none, addr}, other},
		"our own probe":        {message{request, self, make([]byte, 6), none, addr}, nil},
		"question for it":      {message{request, other, make([]byte, 6), netip.MustParseAddr("192.0.2.1"), addr}, nil},
		"about something else": {message{reply, other, self, netip.MustParseAddr("192.0.2.1"), none}, nil},
	} {
		if got := tc.m.holder(addr, self); !bytes.Equal(got, tc.want) {
			t.Errorf("%s: holder %v, want %v", name, got, tc.want)
		}
	}
}

// A gateway is asked for its address only to tell a conflict from a router that
// answers for everything: asked by everybody, it could not take the address itself.
func TestGatewayIsNotAskedWithoutNeed(t *testing.T) {
	gateway := netip.MustParseAddr("192.0.2.1")
	for name, tc := range map[string]struct {
		has   map[netip.Addr][]net.HardwareAddr
		want  net.HardwareAddr
		asked int // for the gateway
	}{
		"free":                     {nil, nil, 0},
		"free beside a gateway":    {map[netip.Addr][]net.HardwareAddr{gateway: {router}}, nil, 0},
		"taken":                    {map[netip.Addr][]net.HardwareAddr{addr: {other}}, other, probes},
		"answered by the gateway":  {map[netip.Addr][]net.HardwareAddr{addr: {router}, gateway: {router}}, nil, 1},
		"taken beside the gateway": {map[netip.Addr][]net.HardwareAddr{addr: {other}, gateway: {router}}, other, 1},
		"both answer":              {map[netip.Addr][]net.HardwareAddr{addr: {other, router}, gateway: {router}}, other, 1},
		"both, gateway first":      {map[netip.Addr][]net.HardwareAddr{addr: {router, other}, gateway: {router}}, other, 1},
		"gateway is not there":     {map[netip.Addr][]net.HardwareAddr{addr: {other, other}}, other, probes},
	} {
		asked := map[netip.Addr]int{}
		var last netip.Addr
		q := question{self,
			func(m message) error { last = m.target; asked[last]++; return nil },
			func(heard func(message)) error {
				for _, mac := range tc.has[last] {
					heard(message{reply, mac, self, last, none})
				}
				return nil
			},
		}
		got, err := q.holder(addr, gateway)
		if err != nil || !bytes.Equal(got, tc.want) || asked[gateway] != tc.asked {
			t.Errorf("%s: %v, %v, gateway asked %d times; want %v, %d", name, got, err, asked[gateway], tc.want, tc.asked)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(message{reply, other, self, addr, none}.marshal())
	f.Add(message{request, self, make([]byte, 6), none, addr}.marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := parse(b)
		if !ok {
			return
		}
		again, ok := parse(m.marshal())
		if d := cmp.Diff(m, again, cmp.AllowUnexported(message{}), cmpopts.EquateComparable(netip.Addr{})); !ok || d != "" {
			t.Errorf("message changes on its way (-first +again):\n%s", d)
		}
	})
}
