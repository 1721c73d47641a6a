package netd

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"micromirror/packages/netd/resolver"
)

// Intervals at which name servers are asked whether they answer.
const (
	namesEvery = 2 * time.Minute
	namesSoon  = 8 * time.Second // while one does not
)

// names is what is known about name servers.
type names struct {
	tiers  [][]netip.Addr // given, offered, last resort
	asked  [][]netip.Addr // what the last question was about
	from   int            // how many addresses there were to ask from
	silent map[netip.Addr]bool
	asking bool
	due    time.Time
	heard  chan map[netip.Addr]bool // the silent ones
}

// nameServers are those to use, best first, the families by turns.
func (m *manager) nameServers(want part) []netip.Addr {
	m.names.tiers = [][]netip.Addr{alternate(want.dns), want.spareDNS, m.config.LastDNS}
	return resolver.Order(m.names.silent, m.names.tiers...)
}

// alternate gives both families a chance among the first few.
func alternate(list []netip.Addr) (out []netip.Addr) {
	var families [2][]netip.Addr
	for _, a := range list {
		if a.Is4() {
			families[0] = append(families[0], a)
		} else {
			families[1] = append(families[1], a)
		}
	}
	for i := range list {
		for _, f := range families {
			out = append(out, f[min(i, len(f)):min(i+1, len(f))]...)
		}
	}
	return out
}

// zoned is a server as a program has to be told it.
func zoned(server netip.Addr) netip.Addr {
	if server.Is6() && server.IsLinkLocalUnicast() {
		return server.WithZone(Uplink)
	}
	return server
}

// askNames asks all name servers now and then, and at once when they change or the
// node has got an address more.
func (m *manager) askNames(ctx context.Context, g *errgroup.Group, now time.Time) {
	n := &m.names
	same := slices.EqualFunc(n.tiers, n.asked, func(a, b []netip.Addr) bool { return slices.Equal(a, b) })
	from := m.usable()
	if n.asking || from == 0 || same && from == n.from && now.Before(n.due) {
		return
	}
	n.asking, n.asked, n.from = true, n.tiers, from
	servers := slices.Concat(n.tiers...)
	g.Go(func() error {
		silent := silentOnes(ctx, servers)
		select {
		case n.heard <- silent:
		case <-ctx.Done():
		}
		return nil
	})
}

// usable counts the addresses to ask from, once a gateway answers.
func (m *manager) usable() (n int) {
	for _, a := range m.state.Addresses {
		if a.State == "ok" {
			n++
		}
	}
	for _, g := range m.gateways {
		if g.reachable {
			return n
		}
	}
	return 0
}

// silentOnes asks all servers at once.
func silentOnes(ctx context.Context, servers []netip.Addr) map[netip.Addr]bool {
	silent := map[netip.Addr]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, server := range servers {
		wg.Go(func() {
			if err := resolver.Ask(ctx, zoned(server)); err != nil {
				mu.Lock()
				silent[server] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return silent
}

// hearNames takes in which servers are silent.
func (m *manager) hearNames(silent map[netip.Addr]bool) {
	n := &m.names
	for _, server := range slices.Concat(n.asked...) {
		switch {
		case silent[server] && !n.silent[server]:
			m.env.Log.Warn("name server does not answer", "server", server.String())
		case !silent[server] && n.silent[server]:
			m.env.Log.Info("name server answers again", "server", server.String())
		}
	}
	n.silent, n.asking, n.due = silent, false, time.Now().Add(namesEvery)
	if len(silent) > 0 {
		n.due = time.Now().Add(namesSoon)
	}
}
