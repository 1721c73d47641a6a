package handshake

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// share bounds how many handshakes run at once, in all and for one network. When
// all places are taken, whoever has had one for long gives it to the next.
type share struct {
	slots   chan struct{}
	most    int // for one network
	mu      sync.Mutex
	network map[netip.Prefix]int
	changed chan struct{} // closed when somebody ends
	running list.List     // of *place, oldest first
}

// place is a handshake that runs.
type place struct {
	network netip.Prefix
	since   time.Time
	abandon func() // makes it fail soon
	at      *list.Element
}

// fair is how long a handshake may take when others wait: a few round trips around
// the world.
const fair = 2 * time.Second

func newShare(all, one int) *share {
	return &share{slots: make(chan struct{}, all), most: one, network: map[netip.Prefix]int{}, changed: make(chan struct{})}
}

// begin waits for its turn; nil because ctx ended. abandon is called at most once,
// before end.
func (s *share) begin(ctx context.Context, peer netip.Addr, abandon func()) *place {
	network := networkOf(peer)
	for {
		changed := s.enter(network)
		if changed == nil {
			break
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
	for {
		select {
		case s.slots <- struct{}{}:
			return s.run(&place{network: network, since: time.Now(), abandon: abandon})
		default:
		}
		s.hurry(time.Now())
		timer := time.NewTimer(fair / 8)
		select {
		case s.slots <- struct{}{}:
			timer.Stop()
			return s.run(&place{network: network, since: time.Now(), abandon: abandon})
		case <-ctx.Done():
			timer.Stop()
			s.leave(network)
			return nil
		case <-timer.C:
		}
	}
}

func (s *share) run(p *place) *place {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.at = s.running.PushBack(p)
	return p
}

// hurry abandons the oldest handshake if it has had its time.
func (s *share) hurry(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := s.running.Front()
	if oldest == nil {
		return
	}
	if p := oldest.Value.(*place); now.Sub(p.since) >= fair {
		s.running.Remove(oldest)
		p.at = nil
		p.abandon()
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

func (s *share) end(p *place) {
	s.mu.Lock()
	if p.at != nil {
		s.running.Remove(p.at)
		p.at = nil
	}
	s.mu.Unlock()
	<-s.slots
	s.leave(p.network)
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
