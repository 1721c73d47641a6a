package limit

import (
	"cmp"
	"net/netip"

	"micromirror/packages/node"
)

// Of returns the rules that the fleet sets, on top of Default. The prefixes of
// firewall.allow may read the metrics.
func Of(f *node.Fleet) Rules {
	r, h := Default(), f.HTTP
	r.Connections = cmp.Or(h.Connections, r.Connections)
	r.ConnectionsPerNetwork = cmp.Or(h.ConnectionsPerNetwork, r.ConnectionsPerNetwork)
	r.RequestsPerSecond = cmp.Or(float64(h.RequestsPerSecond), r.RequestsPerSecond)
	// No network could make a request if nothing may be asked for at once.
	r.Burst = cmp.Or(float64(h.Burst), max(r.Burst, r.RequestsPerSecond))
	r.Exempt = append(r.Exempt, prefixes(h.Exempt)...)
	r.Blocked = prefixes(h.Blocked)
	r.BlockedAgents = h.BlockedAgents
	r.Metrics = append(r.Metrics, prefixes(f.Firewall.Allow)...)
	return r
}

// prefixes leaves out what is none, which reading the file has reported.
func prefixes(list []string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}
