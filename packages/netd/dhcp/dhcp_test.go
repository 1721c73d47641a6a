package dhcp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

func ack(t testing.TB, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	mods = append([]dhcpv4.Modifier{
		dhcpv4.WithMessageType(dhcpv4.MessageTypeAck),
		dhcpv4.WithYourIP(net.IPv4(192, 0, 2, 15)), dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
		dhcpv4.WithLeaseTime(3600),
	}, mods...)
	m, err := dhcpv4.New(mods...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func route(dst string, bits int, gw string) *dhcpv4.Route {
	return &dhcpv4.Route{Dest: &net.IPNet{IP: net.ParseIP(dst).To4(), Mask: net.CIDRMask(bits, 32)}, Router: net.ParseIP(gw)}
}

func TestParse(t *testing.T) {
	hour := Lease{Address: netip.MustParsePrefix("192.0.2.15/24"), Renew: 30 * time.Minute, Rebind: 52*time.Minute + 30*time.Second, Expire: time.Hour}
	with := func(change func(*Lease)) Lease { l := hour; change(&l); return l }
	gw := dhcpv4.WithRouter(net.IPv4(192, 0, 2, 1))
	for _, tc := range []struct {
		name string
		mods []dhcpv4.Modifier
		want Lease
		err  bool
	}{
		{"plain", []dhcpv4.Modifier{gw, dhcpv4.WithDNS(net.IPv4(192, 0, 2, 2), net.IPv4(255, 255, 255, 255))},
			with(func(l *Lease) { l.Gateways, l.DNS = addrs("192.0.2.1"), addrs("192.0.2.2") }), false},
		{"classless routes hide the router", []dhcpv4.Modifier{gw, dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(
			route("0.0.0.0", 0, "192.0.2.9"), route("198.51.100.0", 24, "192.0.2.8"), route("203.0.113.0", 24, "0.0.0.0")))},
			with(func(l *Lease) {
				l.Gateways = addrs("192.0.2.9")
				l.Routes = []Route{
					{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParseAddr("192.0.2.8")},
					{netip.MustParsePrefix("203.0.113.0/24"), netip.Addr{}},
				}
			}), false},
		{"MTU", []dhcpv4.Modifier{dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{0x23, 0x28})}, with(func(l *Lease) { l.MTU = 9000 }), false},
		{"tiny MTU", []dhcpv4.Modifier{dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{0, 68})}, hour, false},
		{"times out of order", []dhcpv4.Modifier{dhcpv4.WithOption(dhcpv4.OptRenewTimeValue(2 * time.Hour))}, hour, false},
		{"lease of a second", []dhcpv4.Modifier{dhcpv4.WithLeaseTime(1)},
			with(func(l *Lease) { l.Expire, l.Renew, l.Rebind = time.Minute, 30*time.Second, 52500*time.Millisecond }), false},
		{"no mask", []dhcpv4.Modifier{dhcpv4.WithoutOption(dhcpv4.OptionSubnetMask)}, hour, false},
		{"multicast address", []dhcpv4.Modifier{dhcpv4.WithYourIP(net.IPv4(224, 0, 0, 1))}, Lease{}, true},
		{"no address", []dhcpv4.Modifier{dhcpv4.WithYourIP(net.IPv4zero)}, Lease{}, true},
		{"holes in the mask", []dhcpv4.Modifier{dhcpv4.WithNetmask(net.IPv4Mask(255, 0, 255, 0))}, Lease{}, true},
	} {
		got, err := Parse(ack(t, tc.mods...))
		if d := cmp.Diff(tc.want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); d != "" || (err != nil) != tc.err {
			t.Errorf("%s: error %v, lease (-want +got):\n%s", tc.name, err, d)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(ack(f, dhcpv4.WithRouter(net.IPv4(192, 0, 2, 1))).ToBytes())
	f.Add(ack(f, dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(route("0.0.0.0", 0, "192.0.2.9")))).ToBytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := dhcpv4.FromBytes(b)
		if err != nil {
			return
		}
		l, err := Parse(m)
		if err != nil {
			return
		}
		if !l.Address.IsValid() || l.Renew <= 0 || l.Renew >= l.Rebind || l.Rebind >= l.Expire || l.MTU < 0 ||
			len(l.Gateways) > maxRoutes || len(l.Routes) > maxRoutes || len(l.DNS) > maxServers {
			t.Errorf("lease out of bounds: %+v", l)
		}
	})
}

// script answers in order and notes when it was asked.
type script struct {
	start time.Time
	asked []string
	reply func(n int, what string) (*dhcpv4.DHCPv4, error)
}

func (s *script) answer(what string) (*nclient4.Lease, error) {
	s.asked = append(s.asked, what+" at "+time.Since(s.start).Round(time.Minute).String())
	m, err := s.reply(len(s.asked), what)
	if err != nil {
		return nil, err
	}
	return &nclient4.Lease{ACK: m, Offer: m}, nil
}

func (s *script) Acquire(context.Context, *nclient4.Lease) (*nclient4.Lease, error) {
	return s.answer("acquire")
}

func (s *script) Renew(context.Context, *nclient4.Lease) (*nclient4.Lease, error) {
	return s.answer("renew")
}

func (s *script) Confirm(context.Context, *nclient4.Lease) (*nclient4.Lease, error) {
	return s.answer("confirm")
}

// play runs a client for a while and returns what was asked and published.
func play(t *testing.T, d time.Duration, kick <-chan struct{}, reply func(n int, what string) (*dhcpv4.DHCPv4, error)) (asked, published []string) {
	s := &script{start: time.Now(), reply: reply}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	c := &Client{Exchange: s, Kick: kick, Log: slog.New(slog.DiscardHandler)}
	err := c.Run(ctx, func(l *Lease) {
		if l == nil {
			published = append(published, "none")
			return
		}
		published = append(published, l.Address.Addr().String())
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("run ended with %v", err)
	}
	return s.asked, published
}

func TestLeaseIsRenewedAtHalfItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := ack(t)
		asked, published := play(t, 70*time.Minute, nil, func(int, string) (*dhcpv4.DHCPv4, error) { return m, nil })
		if d := cmp.Diff([]string{"acquire at 0s", "renew at 30m0s", "renew at 1h0m0s"}, asked); d != "" {
			t.Errorf("questions (-want +got):\n%s", d)
		}
		if len(published) != 3 {
			t.Errorf("published %v", published)
		}
	})
}

func TestSilentServerLosesTheLeaseOnlyAtItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := ack(t)
		asked, published := play(t, 61*time.Minute, nil, func(n int, _ string) (*dhcpv4.DHCPv4, error) {
			if n == 1 {
				return m, nil
			}
			return nil, nclient4.ErrNoResponse
		})
		if d := cmp.Diff([]string{"192.0.2.15", "none"}, published); d != "" {
			t.Errorf("published (-want +got):\n%s", d)
		}
		var rebind bool
		for _, q := range asked[1:] {
			rebind = rebind || q == "acquire at 54m0s"
		}
		if !rebind {
			t.Errorf("other servers were not asked before the end: %v", asked)
		}
	})
}

func TestRefusalStartsAfresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, other := ack(t), ack(t, dhcpv4.WithYourIP(net.IPv4(192, 0, 2, 16)))
		_, published := play(t, 31*time.Minute, nil, func(n int, what string) (*dhcpv4.DHCPv4, error) {
			switch {
			case what == "renew":
				return nil, &nclient4.ErrNak{Offer: m, Nak: m}
			case n == 1:
				return m, nil
			default:
				return other, nil
			}
		})
		if d := cmp.Diff([]string{"192.0.2.15", "none", "192.0.2.16"}, published); d != "" {
			t.Errorf("published (-want +got):\n%s", d)
		}
	})
}

func TestKickConfirmsTheLeaseAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, kick := ack(t), make(chan struct{}, 1)
		kick <- struct{}{}
		asked, _ := play(t, time.Minute, kick, func(int, string) (*dhcpv4.DHCPv4, error) { return m, nil })
		if d := cmp.Diff([]string{"acquire at 0s", "confirm at 0s"}, asked); d != "" {
			t.Errorf("questions (-want +got):\n%s", d)
		}
	})
}
