package daemon

import (
	"context"
	"net"
	"strconv"

	"golang.org/x/time/rate"
)

// slowest is the least rate that a client can ask for, in KiB a second: less
// would only hold a connection.
const slowest = 16

// paced writes to a connection as fast as the client asked for with --bwlimit,
// which rsync leaves to the sender.
type paced struct {
	net.Conn
	ctx   context.Context
	alive func() // moves the deadline
	limit *rate.Limiter
}

// slow sets a rate in KiB a second; zero is none.
func (p *paced) slow(kib int) {
	if kib > 0 {
		bytes := max(kib, slowest) << 10
		p.limit = rate.NewLimiter(rate.Limit(bytes), max(bytes/10, 4<<10))
	}
}

// WriteVector writes several slices, without a limit in one system call.
func (p *paced) WriteVector(b *net.Buffers) (int64, error) {
	if p.limit == nil {
		return b.WriteTo(p.Conn)
	}
	var sum int64
	for _, part := range *b {
		n, err := p.Write(part)
		sum += int64(n)
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

func (p *paced) Write(b []byte) (int, error) {
	if p.limit == nil {
		return p.Conn.Write(b)
	}
	sum := 0
	for len(b) > 0 {
		piece := b[:min(len(b), p.limit.Burst())]
		if err := p.limit.WaitN(p.ctx, len(piece)); err != nil {
			return sum, context.Cause(p.ctx)
		}
		p.alive()
		n, err := p.Conn.Write(piece)
		sum += n
		if err != nil {
			return sum, err
		}
		b = b[n:]
	}
	return sum, nil
}

// setBandwidth takes --bwlimit, which rsync sends in KiB a second. What is no
// number limits nothing.
func (o *options) setBandwidth(v string) error {
	if n, err := strconv.Atoi(v); err == nil {
		o.bandwidth = min(max(n, 0), 1<<30)
	}
	return nil
}
