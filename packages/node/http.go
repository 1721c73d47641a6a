package node

// HTTP has the file server's bounds (package httpd/limit). A number that is left
// out, or is 0, is as that package has it.
type HTTP struct {
	// Connections is the most that a node holds open.
	Connections int `json:"connections"`
	// ConnectionsPerNetwork is the most that a /24 or a /56 may hold open.
	ConnectionsPerNetwork int `json:"connections_per_network"`
	// RequestsPerSecond is what a network may ask for in the long run, Burst how
	// much at once.
	RequestsPerSecond int `json:"requests_per_second"`
	Burst             int `json:"burst"`
	// Exempt prefixes have no bounds of their own.
	Exempt []string `json:"exempt"`
	// Blocked prefixes are answered with 403; Firewall.Block answers nothing.
	Blocked []string `json:"blocked"`
	// BlockedAgents get 403 if their User-Agent contains one of these.
	BlockedAgents []string `json:"blocked_agents"`
}

func (d *decoder) http(h *HTTP) {
	const prefix, write = "is not a prefix", "write it like 192.0.2.0/24 or 2001:db8::/32"
	const number = "leave it out for the usual bound"
	h.Connections = d.between("http.connections", h.Connections, 100, 1_000_000, number)
	h.ConnectionsPerNetwork = d.between("http.connections_per_network", h.ConnectionsPerNetwork, 1, 1_000_000, number)
	h.RequestsPerSecond = d.between("http.requests_per_second", h.RequestsPerSecond, 1, 1_000_000, number)
	h.Burst = d.between("http.burst", h.Burst, 1, 1_000_000, number)
	h.Exempt = d.strings("http.exempt", h.Exempt, isPrefix, prefix, write)
	h.Blocked = d.strings("http.blocked", h.Blocked, isPrefix, prefix, write)
	h.BlockedAgents = d.strings("http.blocked_agents", h.BlockedAgents, isAgentPart,
		"would block too many", "write at least 3 characters of the User-Agent")
}

// isAgentPart refuses what nearly every client's name contains.
func isAgentPart(s string) bool { return len(s) >= 3 && isText(s) }
