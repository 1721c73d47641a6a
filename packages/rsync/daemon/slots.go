package daemon

import (
	"net/netip"
	"sync"
)

// slots counts connections, in all and per prefix.
type slots struct {
	mu       sync.Mutex
	total    int
	prefixes map[netip.Prefix]int
}

// take counts a connection, unless a limit is reached: then it gives the limit.
// A limit of zero does not limit.
func (s *slots) take(addr netip.Addr, limit, perPrefix int) (ok bool, reached int) {
	p := prefixOf(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case limit > 0 && s.total >= limit:
		return false, limit
	case perPrefix > 0 && s.prefixes[p] >= perPrefix:
		return false, perPrefix
	}
	if s.prefixes == nil {
		s.prefixes = map[netip.Prefix]int{}
	}
	s.total++
	s.prefixes[p]++
	return true, 0
}

func (s *slots) release(addr netip.Addr) {
	p := prefixOf(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.prefixes[p]--; s.prefixes[p] == 0 {
		delete(s.prefixes, p)
	}
}

// prefixOf is the network that one site usually has.
func prefixOf(addr netip.Addr) netip.Prefix {
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
