package httpd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMetricsOfTheNetwork(t *testing.T) {
	f := newFixture(t)
	if got := f.get("GET", "/metrics").Body; strings.Contains(got, "micromirror_network") {
		t.Errorf("without netd:\n%s", got)
	}
	file := filepath.Join(f.dir, "run/netd/state.json")
	f.must(os.MkdirAll(filepath.Dir(file), 0o755))
	f.must(os.WriteFile(file, []byte(`{"carrier": true, "gateways": [{"address": "192.0.2.1", "reachable": true}, {"address": "fe80::1", "reachable": false}],
		"firewall": {"counters": {"refused": {"packets": 3, "bytes": 180}, "blocked": {"packets": 2, "bytes": 120}}}}`), 0o644))
	want := `# TYPE micromirror_network_carrier gauge
micromirror_network_carrier 1
# HELP micromirror_network_gateway 1 while a gateway answers.
# TYPE micromirror_network_gateway gauge
micromirror_network_gateway{address="192.0.2.1"} 1
micromirror_network_gateway{address="fe80::1"} 0
# HELP micromirror_firewall_packets_total Packets that met a rule.
# TYPE micromirror_firewall_packets_total counter
micromirror_firewall_packets_total{rule="blocked"} 2
micromirror_firewall_packets_total{rule="refused"} 3
# HELP micromirror_firewall_bytes_total Their bytes.
# TYPE micromirror_firewall_bytes_total counter
micromirror_firewall_bytes_total{rule="blocked"} 120
micromirror_firewall_bytes_total{rule="refused"} 180
`
	if got := f.get("GET", "/metrics").Body; !strings.Contains(got, want) {
		t.Errorf("metrics lack\n%s\nin\n%s", want, got)
	}
}
