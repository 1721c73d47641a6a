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
	self  = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	other = net.HardwareAddr{2, 0, 0, 0, 0, 2}
	addr  = netip.MustParseAddr("192.0.2.10")
	none  = netip.IPv4Unspecified()
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
