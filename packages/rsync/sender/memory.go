package sender

import (
	"errors"
	"sync/atomic"
)

// ErrMemory ends what would take more memory than a server has set aside.
var ErrMemory = errors.New("too much memory is in use, try again later")

// Memory is what all clients of a server may take together for what they
// describe: sums of old versions, rules, lists with many gaps. However many
// connections there are, it is not exceeded. A nil Memory has no end.
type Memory struct {
	limit int64
	taken atomic.Int64
}

// NewMemory sets a limit in bytes.
func NewMemory(limit int64) *Memory { return &Memory{limit: limit} }

// Taken is how much is in use.
func (m *Memory) Taken() int64 { return m.taken.Load() }

// Account opens the account of one connection. It is for one goroutine.
func (m *Memory) Account() *Account { return &Account{memory: m} }

// Account is what one connection has taken. A nil Account has no end.
type Account struct {
	memory *Memory
	used   int64
}

// allowance is what every connection may take, whatever others do, so that the
// usual client is never turned away because of the unusual one.
const allowance = 256 << 10

// Take takes n bytes, or fails with ErrMemory and takes none.
func (a *Account) Take(n int64) error {
	if a == nil || a.memory == nil {
		return nil
	}
	share := max(a.used+n-allowance, 0) - max(a.used-allowance, 0)
	if a.memory.taken.Add(share) > a.memory.limit && share > 0 {
		a.memory.taken.Add(-share)
		return ErrMemory
	}
	a.used += n
	return nil
}

// Give gives n bytes back.
func (a *Account) Give(n int64) {
	if a == nil || a.memory == nil {
		return
	}
	a.memory.taken.Add(max(a.used-n-allowance, 0) - max(a.used-allowance, 0))
	a.used -= n
}

// Close gives everything back.
func (a *Account) Close() {
	if a != nil {
		a.Give(a.used)
	}
}
