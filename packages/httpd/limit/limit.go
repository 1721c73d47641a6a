// Package limit bounds what any one network can take from the node, so that
// everybody else is served under a flood.
//
// Clients are counted by network: a /24 of IPv4, a /56 of IPv6. A network may
// hold so many connections and make so many requests a second, with a burst; the
// node as a whole may hold so many connections. A TLS handshake counts as twenty
// requests. Who is over is told 429, a full node says 503. The rules come from the
// fleet file, which travels over the air, so that an attack is answered without a
// new image. The table of networks is bounded; a network that has done nothing for
// a minute is forgotten.
package limit

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Rules is what a network may take.
type Rules struct {
	// Connections is the most that the node holds open.
	Connections int
	// ConnectionsPerNetwork is the most that one network may hold open.
	ConnectionsPerNetwork int
	// RequestsPerSecond is what one network may ask for in the long run, Burst
	// how much at once. 0 means no bound.
	RequestsPerSecond float64
	Burst             float64
	// Exempt networks have no bounds of their own.
	Exempt []netip.Prefix
	// Blocked networks get no answer but 403.
	Blocked []netip.Prefix
	// BlockedAgents get 403 if their User-Agent contains one of these.
	BlockedAgents []string
	// Metrics may read /metrics.
	Metrics []netip.Prefix
}

// Default holds the rules of a fleet that sets none.
func Default() Rules {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	return Rules{
		Connections: 20000, ConnectionsPerNetwork: 1000, RequestsPerSecond: 1000, Burst: 5000,
		Exempt: loopback, Metrics: loopback,
	}
}

// Table counts clients by network.
type Table struct {
	rules    atomic.Pointer[Rules]
	open     atomic.Int64
	mu       sync.Mutex
	networks map[netip.Prefix]*network
	swept    time.Time
}

// network is the account of one network, under Table.mu.
type network struct {
	open   int
	tokens float64
	last   time.Time
}

// maxNetworks bounds the table; a flood from more networks than this is one that
// counting by network does not stop.
const maxNetworks = 100_000

// NewTable makes a table with rules in force.
func NewTable(rules Rules) *Table {
	t := &Table{networks: map[netip.Prefix]*network{}}
	t.rules.Store(&rules)
	return t
}

// SetRules puts other rules in force.
func (t *Table) SetRules(rules Rules) { t.rules.Store(&rules) }

// Open returns the number of connections.
func (t *Table) Open() int64 { return t.open.Load() }

// MayReadMetrics says whether addr is in a network named for that.
func (t *Table) MayReadMetrics(addr netip.Addr) bool { return contains(t.rules.Load().Metrics, addr) }

// Client is a connection that was let in.
type Client struct {
	table   *Table
	network *network // nil if exempt
}

// Admit lets a connection in, or returns the status to refuse it with.
func (t *Table) Admit(addr netip.Addr, now time.Time) (*Client, int) {
	rules := t.rules.Load()
	addr = addr.Unmap().WithZone("")
	if contains(rules.Blocked, addr) {
		return nil, http.StatusForbidden
	}
	if t.open.Add(1) > int64(rules.Connections) {
		t.open.Add(-1)
		return nil, http.StatusServiceUnavailable
	}
	if contains(rules.Exempt, addr) {
		return &Client{table: t}, 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.account(networkOf(addr), rules, now)
	if n.open >= rules.ConnectionsPerNetwork {
		t.open.Add(-1)
		return nil, http.StatusTooManyRequests
	}
	n.open++
	return &Client{t, n}, 0
}

// account finds or opens a network's account.
func (t *Table) account(p netip.Prefix, rules *Rules, now time.Time) *network {
	n := t.networks[p]
	if n == nil {
		t.sweep(now)
		n = &network{tokens: rules.Burst, last: now}
		t.networks[p] = n
	}
	return n
}

// sweep forgets networks that have been quiet, at most once a second.
func (t *Table) sweep(now time.Time) {
	if len(t.networks) < maxNetworks && now.Sub(t.swept) < time.Minute || now.Sub(t.swept) < time.Second {
		return
	}
	t.swept = now
	full := len(t.networks) >= maxNetworks
	for p, n := range t.networks {
		if n.open == 0 && (full || now.Sub(n.last) > time.Minute) {
			delete(t.networks, p)
		}
	}
}

// Request counts a request and returns 0, or the status to refuse it with.
func (c *Client) Request(now time.Time, agent []byte) int {
	rules := c.table.rules.Load()
	for _, s := range rules.BlockedAgents {
		if s != "" && strings.Contains(string(agent), s) {
			return http.StatusForbidden
		}
	}
	if !c.spend(rules, now, 1) {
		return http.StatusTooManyRequests
	}
	return 0
}

// handshakeCost is what a TLS handshake counts for, in requests.
const handshakeCost = 20

// Handshake counts a TLS handshake and says whether the client may make it.
func (c *Client) Handshake(now time.Time) bool {
	return c.spend(c.table.rules.Load(), now, handshakeCost)
}

// spend takes tokens from the network's account, if it has them.
func (c *Client) spend(rules *Rules, now time.Time, cost float64) bool {
	if c.network == nil || rules.RequestsPerSecond <= 0 {
		return true
	}
	cost = min(cost, rules.Burst)
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	n := c.network
	n.tokens = min(rules.Burst, n.tokens+max(0, now.Sub(n.last).Seconds())*rules.RequestsPerSecond)
	n.last = now
	if n.tokens < cost {
		return false
	}
	n.tokens -= cost
	return true
}

// Done says that the connection has ended.
func (c *Client) Done() {
	c.table.open.Add(-1)
	if c.network != nil {
		c.table.mu.Lock()
		c.network.open--
		c.table.mu.Unlock()
	}
}

// networkOf is the network that a client is counted under.
func networkOf(addr netip.Addr) netip.Prefix {
	bits := 56
	if addr.Is4() {
		bits = 24
	}
	p, _ := addr.Prefix(bits) // fails for no valid address
	return p
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap()
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
