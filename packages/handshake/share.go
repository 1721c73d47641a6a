package handshake

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
)

// share bounds how many handshakes run at once, in all and for one network.
type share struct {
	slots   chan struct{}
	most    int // for one network
	mu      sync.Mutex
	network map[netip.Prefix]int
	changed chan struct{} // closed when somebody ends
}

func newShare(all, one int) *share {
	return &share{slots: make(chan struct{}, all), most: one, network: map[netip.Prefix]int{}, changed: make(chan struct{})}
}

// begin waits for its turn, or reports false because ctx ended.
func (s *share) begin(ctx context.Context, peer netip.Addr) bool {
	network := networkOf(peer)
	for {
		changed := s.enter(network)
		if changed == nil {
			break
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
	select {
	case s.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		s.leave(network)
		return false
	}
}

// enter counts one more of a network, or returns what to wait for.
func (s *share) enter(network netip.Prefix) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.network[network] >= s.most {
		return s.changed
	}
	s.network[network]++
	return nil
}

func (s *share) end(peer netip.Addr) {
	<-s.slots
	s.leave(networkOf(peer))
}

func (s *share) leave(network netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	full := s.network[network] >= s.most
	if s.network[network]--; s.network[network] == 0 {
		delete(s.network, network)
	}
	if full {
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

// networkOf is what is counted as one client.
func networkOf(addr netip.Addr) netip.Prefix {
	bits := 56
	if addr.Is4() {
		bits = 24
	}
	p, _ := addr.Prefix(bits) // fails for no valid address
	return p
}

// counters count what has become of connections.
type counters struct {
	full, resumed, failed, refused atomic.Int64
	offloaded, sealed, kept        atomic.Int64
}

func (c *counters) handshake(resumed bool) {
	if resumed {
		c.resumed.Add(1)
	} else {
		c.full.Add(1)
	}
}

// Stats are counts since the start.
type Stats struct {
	Full, Resumed  int64 // handshakes
	Failed         int64 // that did not succeed
	Refused        int64 // over a bound
	Offloaded      int64 // connections that the kernel seals
	Sealed         int64 // connections that an event loop seals
	KeptByStandard int64 // connections that stayed with crypto/tls
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	c := &s.counters
	return Stats{
		Full: c.full.Load(), Resumed: c.resumed.Load(), Failed: c.failed.Load(), Refused: c.refused.Load(),
		Offloaded: c.offloaded.Load(), Sealed: c.sealed.Load(), KeptByStandard: c.kept.Load(),
	}
}
