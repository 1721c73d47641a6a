package netd

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// history plays a network to a fallback, one look a minute, and returns the
// modes it goes through. The network is a string: "." no carrier, "-" carrier,
// "+" a gateway of the configuration in force answers.
func history(t *testing.T, f *fallback, network string) (modes []Mode) {
	t.Helper()
	if err := f.open(); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	modes = []Mode{f.mode}
	for _, c := range network {
		now = now.Add(time.Minute)
		changed, err := f.step(now, c != '.', c == '+')
		if err != nil {
			t.Fatal(err)
		}
		if changed {
			modes = append(modes, f.mode)
		}
	}
	return modes
}

func TestFallback(t *testing.T) {
	dhcp := Config{DHCP: true}
	for _, tc := range []struct {
		name    string
		given   Config
		worked  string // network in which another configuration was run before
		network string
		want    []Mode
	}{
		{"works at once", static(), "", "+----------", []Mode{Configured}},
		{"works in time", static(), "", "---+-------", []Mode{Configured}},
		{"never answers", static(), "", "-----", []Mode{Configured, Rescue}},
		{"rescue ends with the first answer", static(), "", "-----+----------", []Mode{Configured, Rescue, Configured}},
		{"no cable is no reason", static(), "", "..........--.--.--", []Mode{Configured}},
		{"DHCP has nothing to be rescued by", dhcp, "", "----------", []Mode{Configured}},
		{"new file loses the gateway", static(), "+", "-----", []Mode{Configured, Previous}},
		{"new file is tried again", static(), "+", "-----" + strings.Repeat("+", 67), []Mode{Configured, Previous, Configured}},
		{"new file is still bad", static(), "+", "-----" + strings.Repeat("+", 58) + "-------", []Mode{Configured, Previous, Configured, Previous}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "netd", "working.json")
			old := static()
			old.Addresses = prefixes("198.51.100.10/24")
			history(t, &fallback{file: file, patience: patience, given: old}, tc.worked)
			f := &fallback{file: file, patience: patience, given: tc.given}
			if d := cmp.Diff(tc.want, history(t, f, tc.network)); d != "" {
				t.Errorf("modes (-want +got):\n%s", d)
			}
			if f.mode == Previous && !sameNetwork(f.effective(), old) || f.mode == Rescue && f.effective().Firewall.Serve != nil {
				t.Errorf("in force: %+v", f.effective())
			}
		})
	}
}

func TestOutageOfAWorkingConfigurationChangesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "working.json")
	history(t, &fallback{file: file, patience: patience, given: static()}, "+")
	got := history(t, &fallback{file: file, patience: patience, given: static()}, "--------------------")
	if d := cmp.Diff([]Mode{Configured}, got); d != "" {
		t.Errorf("modes (-want +got):\n%s", d)
	}
}

func TestDamagedMemoryCountsAsNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "working.json")
	if err := os.WriteFile(file, []byte(`{"Addresses":[`), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &fallback{file: file, given: static()}
	if err := f.open(); err == nil || f.working != nil || f.mode != Configured {
		t.Errorf("fallback = %+v, %v", f, err)
	}
}

// A rescue ends with an answer of the configuration's own gateway, which may be
// one that a router advertises.
func TestOwnGateway(t *testing.T) {
	router, other := netip.MustParseAddr("fe80::1"), netip.MustParseAddr("192.0.2.254")
	advertised := Config{Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8::7/64")}}
	named := advertised
	named.Gateways = []netip.Addr{netip.MustParseAddr("fe80::2")}
	for name, tc := range map[string]struct {
		c       Config
		gateway netip.Addr
		want    bool
	}{
		"advertised":            {advertised, router, true},
		"of a DHCP server":      {advertised, other, false},
		"another is named":      {named, router, false},
		"named":                 {named, named.Gateways[0], true},
		"static, of IPv4 only":  {Config{Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24")}}, router, false},
		"everything is dynamic": {Config{DHCP: true}, other, true},
	} {
		if got := tc.c.own(tc.gateway); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}
