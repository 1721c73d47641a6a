package httpd

import (
	"encoding/json"
	"maps"
	"os"
	"slices"

	"micromirror/packages/httpd/metrics"
)

// networkGauges are the figures of netd, whose state is in file: whether the cable
// is in, whether the gateways answer, and what met the rules of the firewall.
// Without the file there are none.
func networkGauges(file string) (list []metrics.Gauge) {
	var s struct {
		Carrier  bool `json:"carrier"`
		Gateways []struct {
			Address   string `json:"address"`
			Reachable bool   `json:"reachable"`
		} `json:"gateways"`
		Firewall struct {
			Counters map[string]struct {
				Packets uint64 `json:"packets"`
				Bytes   uint64 `json:"bytes"`
			} `json:"counters"`
		} `json:"firewall"`
	}
	b, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(b, &s) != nil {
		return nil
	}
	list = append(list, metrics.Gauge{Name: "micromirror_network_carrier", Help: "1 while the uplink's cable is in.", Value: number(s.Carrier)})
	for _, g := range s.Gateways {
		list = append(list, metrics.Gauge{Name: "micromirror_network_gateway", Help: "1 while a gateway answers.",
			Labels: []string{"address", g.Address}, Value: number(g.Reachable)})
	}
	rules := slices.Sorted(maps.Keys(s.Firewall.Counters))
	for _, rule := range rules {
		list = append(list, metrics.Gauge{Name: "micromirror_firewall_packets_total", Help: "Packets that met a rule.", Counter: true,
			Labels: []string{"rule", rule}, Value: float64(s.Firewall.Counters[rule].Packets)})
	}
	for _, rule := range rules {
		list = append(list, metrics.Gauge{Name: "micromirror_firewall_bytes_total", Help: "Their bytes.", Counter: true,
			Labels: []string{"rule", rule}, Value: float64(s.Firewall.Counters[rule].Bytes)})
	}
	return list
}
