package client

import (
	"testing"

	"micromirror/packages/rsync/wire"
)

func TestDefaults(t *testing.T) {
	for addr, want := range map[string]string{
		"host": "host:873", "host:8730": "host:8730", "192.0.2.1": "192.0.2.1:873",
		"2001:db8::1": "[2001:db8::1]:873", "[2001:db8::1]": "[2001:db8::1]:873", "[2001:db8::1]:99": "[2001:db8::1]:99",
	} {
		if got := (Config{Addr: addr}).withDefaults().Addr; got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	for protocol, want := range map[int]int{0: wire.MaxProtocol, 20: wire.MinProtocol, 30: 30, 99: wire.MaxProtocol} {
		if got := (Config{Protocol: protocol}).withDefaults().Protocol; got != want {
			t.Errorf("protocol %d: %d, want %d", protocol, got, want)
		}
	}
}

func TestLimiter(t *testing.T) {
	for rate, burst := range map[int64]int{1: 64 << 10, 25 << 20: 4 << 20, 4 << 20: 1 << 20} {
		if l := (&Config{Rate: rate}).limiter(); l.Burst() != burst || float64(l.Limit()) != float64(rate) {
			t.Errorf("%d: burst %d, limit %v", rate, l.Burst(), l.Limit())
		}
	}
	if l := (&Config{}).limiter(); l != nil {
		t.Errorf("a limit without a rate: %v", l)
	}
}
