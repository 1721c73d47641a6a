package httpd

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"micromirror/packages/httpd/limit"
)

func TestLimitsHoldOnBothPaths(t *testing.T) {
	f := newFixture(t)
	rules := limit.Default()
	rules.Exempt = nil
	rules.RequestsPerSecond, rules.Burst = 0.001, 2
	rules.BlockedAgents = []string{"BadBot"}
	f.limits.SetRules(rules)
	ok := request("GET", inRelease)
	for i, got := range f.ask("GET", ok+request("GET", inRelease, unusual)+ok, 3) {
		if want := []int{200, 200, 429}[i]; got.Status != want {
			t.Errorf("request %d: status %d, want %d", i, got.Status, want)
		}
	}
	for _, header := range [][]string{{"User-Agent: BadBot/2"}, {"User-Agent: BadBot/2", unusual}} {
		if got := f.get("GET", inRelease, header...); got.Status != 403 {
			t.Errorf("bad agent: status %d, want 403", got.Status)
		}
	}
	rules.Blocked = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	f.limits.SetRules(rules)
	if got := f.get("GET", inRelease); got.Status != 403 {
		t.Errorf("blocked network: status %d, want 403", got.Status)
	}
	f.limits.SetRules(limit.Default())
	if got := f.get("GET", "/metrics").Body; !strings.Contains(got, `micromirror_http_refused_connections_total{status="403"} 1`) {
		t.Errorf("the refused connection is not counted:\n%s", got)
	}
}

func TestMetricsAreForNamedNetworks(t *testing.T) {
	f := newFixture(t)
	f.get("GET", inRelease)
	f.get("GET", inRelease, unusual)
	got := f.get("GET", "/metrics")
	for _, want := range []string{
		`micromirror_http_requests_total{project="debian",release="stable",status="200",family="4"} 2`,
		`micromirror_http_sent_bytes_total{project="debian",release="stable",status="200",family="4"} 30`,
		`micromirror_project_bytes{project="debian"} 5`,
		"micromirror_http_connections ",
	} {
		if !strings.Contains(got.Body, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	rules := limit.Default()
	rules.Metrics = nil
	f.limits.SetRules(rules)
	for _, header := range [][]string{nil, {unusual}} {
		if got := f.get("GET", "/metrics", header...); got.Status != 403 {
			t.Errorf("status %d, want 403", got.Status)
		}
	}
}

func TestConnectionsAreCountedOnBothPaths(t *testing.T) {
	f := newFixture(t)
	for range 5 {
		f.get("GET", inRelease)
		f.get("GET", inRelease, unusual)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); f.limits.Open() != 0; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are still counted after all have ended", f.limits.Open())
		}
	}
}
