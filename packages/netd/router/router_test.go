package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mdlayher/ndp"
)

var (
	r1      = netip.MustParseAddr("fe80::1")
	r2      = netip.MustParseAddr("fe80::2")
	network = netip.MustParsePrefix("2001:db8:1::/64")
	dns     = netip.MustParseAddr("2001:db8::53")
	epoch   = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
)

func prefix(valid, preferred time.Duration) *ndp.PrefixInformation {
	return &ndp.PrefixInformation{PrefixLength: 64, OnLink: true, AutonomousAddressConfiguration: true,
		ValidLifetime: valid, PreferredLifetime: preferred, Prefix: network.Addr()}
}

func advertise(life time.Duration, pref ndp.Preference, options ...ndp.Option) *ndp.RouterAdvertisement {
	return &ndp.RouterAdvertisement{RouterLifetime: life, RouterSelectionPreference: pref, Options: options}
}

var equate = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

func TestTableOrdersRoutersAndForgetsThem(t *testing.T) {
	var tab Table
	tab.Update(epoch, r1, advertise(30*time.Minute, ndp.Low, prefix(time.Hour, time.Minute), ndp.NewMTU(1400)))
	tab.Update(epoch, r2.WithZone("wan0"), advertise(10*time.Minute, ndp.High, &ndp.RecursiveDNSServer{Lifetime: time.Minute, Servers: []netip.Addr{dns}}))
	tab.Update(epoch, netip.MustParseAddr("2001:db8::1"), advertise(time.Hour, ndp.High))
	want := State{
		Routers:  []Router{{r2, ndp.High, epoch.Add(10 * time.Minute)}, {r1, ndp.Low, epoch.Add(30 * time.Minute)}},
		Prefixes: []Prefix{{network, true, true, epoch.Add(time.Hour), epoch.Add(time.Minute)}},
		DNS:      []netip.Addr{dns},
		MTU:      1400,
	}
	if d := cmp.Diff(want, tab.State(), equate); d != "" {
		t.Errorf("state (-want +got):\n%s", d)
	}
	if next, changed := tab.Expire(epoch.Add(20 * time.Minute)); !changed || next != epoch.Add(30*time.Minute) {
		t.Errorf("expire = %v, %v", next, changed)
	}
	tab.Update(epoch, r1, advertise(0, ndp.Medium))
	got := tab.State()
	if len(got.Routers) != 0 || len(got.DNS) != 0 || len(got.Prefixes) != 1 {
		t.Errorf("after expiry: %+v", got)
	}
}

func TestTwoHourRule(t *testing.T) {
	for _, tc := range []struct{ left, said, want time.Duration }{
		{24 * time.Hour, 0, twoHours},
		{24 * time.Hour, 3 * time.Hour, 3 * time.Hour},
		{time.Hour, time.Minute, time.Hour},
		{time.Hour, 90 * time.Minute, 90 * time.Minute},
	} {
		var tab Table
		tab.Update(epoch, r1, advertise(time.Hour, ndp.Medium, prefix(tc.left, tc.left)))
		tab.Update(epoch, r1, advertise(time.Hour, ndp.Medium, prefix(tc.said, 0)))
		got := tab.State().Prefixes[0]
		if got.Valid.Sub(epoch) != tc.want || got.Preferred.After(epoch) {
			t.Errorf("%v left, advertised %v: valid for %v, want %v", tc.left, tc.said, got.Valid.Sub(epoch), tc.want)
		}
	}
}

func TestTableIsBounded(t *testing.T) {
	var tab Table
	for i := range 1000 {
		from := netip.MustParseAddr(fmt.Sprintf("fe80::%x", i+1))
		server := netip.MustParseAddr(fmt.Sprintf("2001:db8:2::%x", i+1))
		p := prefix(time.Hour, time.Hour)
		p.Prefix = netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::", i+1))
		tab.Update(epoch, from, advertise(time.Hour, ndp.Medium, p, &ndp.RecursiveDNSServer{Lifetime: time.Hour, Servers: []netip.Addr{server}}))
	}
	s := tab.State()
	if len(s.Routers) != maxRouters || len(s.Prefixes) != maxPrefixes || len(s.DNS) != maxServers {
		t.Errorf("%d routers, %d prefixes, %d servers", len(s.Routers), len(s.Prefixes), len(s.DNS))
	}
}

func TestNonsensePrefixesAreIgnored(t *testing.T) {
	odd := func(change func(*ndp.PrefixInformation)) *ndp.PrefixInformation {
		p := prefix(time.Hour, time.Hour)
		change(p)
		return p
	}
	var tab Table
	tab.Update(epoch, r1, advertise(time.Hour, ndp.Medium,
		odd(func(p *ndp.PrefixInformation) { p.Prefix = netip.MustParseAddr("fe80::") }),
		odd(func(p *ndp.PrefixInformation) { p.Prefix = netip.MustParseAddr("ff02::1") }),
		odd(func(p *ndp.PrefixInformation) { p.PrefixLength = 0 }),
		odd(func(p *ndp.PrefixInformation) { p.PrefixLength = 200 }),
		odd(func(p *ndp.PrefixInformation) { p.PreferredLifetime = 2 * time.Hour }),
	))
	if got := tab.State().Prefixes; len(got) != 0 {
		t.Errorf("prefixes = %v", got)
	}
}

func FuzzUpdate(f *testing.F) {
	seed, err := ndp.MarshalMessage(advertise(time.Hour, ndp.High, prefix(time.Hour, time.Minute), ndp.NewMTU(1500)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ndp.ParseMessage(b)
		ra, ok := m.(*ndp.RouterAdvertisement)
		if err != nil || !ok {
			return
		}
		var tab Table
		tab.Update(epoch, r1, ra)
		tab.Update(epoch.Add(time.Minute), r1, ra)
		for _, p := range tab.State().Prefixes {
			if p.Preferred.After(p.Valid) || p.Auto && p.Prefix.Bits() != 64 {
				t.Errorf("prefix out of bounds: %+v", p)
			}
		}
	})
}

func TestEUI64(t *testing.T) {
	got, ok := EUI64(network, []byte{0x52, 0x54, 0, 0x12, 0x34, 0x56})
	if want := netip.MustParseAddr("2001:db8:1::5054:ff:fe12:3456"); !ok || got != want {
		t.Errorf("address = %v, want %v", got, want)
	}
	if _, ok := EUI64(netip.MustParsePrefix("2001:db8::/56"), make([]byte, 6)); ok {
		t.Error("made an address in a /56")
	}
}

func TestClientSolicitsUntilARouterAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		start := time.Now()
		var asked []time.Duration
		var states []State
		ras := make(chan heard)
		go func() {
			time.Sleep(10 * time.Second) // in the bubble's time
			ras <- heard{r1, advertise(time.Hour, ndp.Medium)}
		}()
		c := &Client{Log: slog.New(slog.DiscardHandler)}
		err := c.loop(ctx, func() error {
			asked = append(asked, time.Since(start))
			return errors.New("network is unreachable")
		}, ras, nil, func(s State) { states = append(states, s) })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		early := asked[:min(4, len(asked))]
		if d := cmp.Diff([]time.Duration{0, 4 * time.Second, 8 * time.Second}, early[:3]); d != "" {
			t.Errorf("asked (-want +got):\n%s", d)
		}
		if len(early) < 4 || early[3] < time.Hour {
			t.Errorf("did not ask again after the router's hour, but at %v", early)
		}
		if len(states) < 2 || len(states[0].Routers) != 1 || len(states[1].Routers) != 0 {
			t.Errorf("states = %+v", states)
		}
	})
}
