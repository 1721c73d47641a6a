// Package dhcp keeps a DHCPv4 lease.
//
// It asks for an address, renews it at half its time, asks any server from
// seven eighths on, and gives the address up only when its time is over or the
// server says no. After a link came back the lease is confirmed at once. What
// a server sends is checked and bounded; an answer that makes no sense is
// treated as none.
//
// The package touches neither addresses nor routes: it tells its caller what
// the lease says. It sends and receives on UDP ports 67 and 68 by a packet
// socket that is open only while an answer is awaited.
package dhcp

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

// Exchange is the conversation with the servers.
type Exchange interface {
	// Acquire asks all servers for a lease, wishing for the address of the old
	// lease if there is one.
	Acquire(ctx context.Context, old *nclient4.Lease) (*nclient4.Lease, error)
	// Renew asks the server of a lease to prolong it.
	Renew(ctx context.Context, old *nclient4.Lease) (*nclient4.Lease, error)
	// Confirm asks whatever server is there now whether the lease still holds.
	Confirm(ctx context.Context, old *nclient4.Lease) (*nclient4.Lease, error)
}

// Client keeps one lease.
type Client struct {
	Exchange Exchange
	// Kick asks to confirm the lease now, or to stop waiting before the next
	// attempt to get one.
	Kick <-chan struct{}
	Log  *slog.Logger
}

// Waits between attempts; the longer one applies from the fifth on, so that a
// node without a server does not fill its network with questions.
const (
	retryShort = 2 * time.Second
	retryLong  = 20 * time.Second
)

// Run keeps a lease until ctx ends. It calls publish with every new lease, and
// with nil when the node must stop using its address.
func (c *Client) Run(ctx context.Context, publish func(*Lease)) error {
	var raw *nclient4.Lease
	for {
		next, lease, err := c.acquire(ctx, raw)
		if err != nil {
			return err
		}
		raw = next
		publish(&lease)
		if err := c.keep(ctx, &raw, lease, publish); err != nil {
			return err
		}
		c.Log.Warn("dhcp: lease lost", "address", lease.Address)
		publish(nil)
		raw = nil
	}
}

// acquire tries until it has a usable lease.
func (c *Client) acquire(ctx context.Context, old *nclient4.Lease) (*nclient4.Lease, Lease, error) {
	for attempt := 1; ; attempt++ {
		raw, lease, err := c.ask(ctx, c.Exchange.Acquire, old)
		if err == nil {
			return raw, lease, nil
		}
		if ctx.Err() != nil {
			return nil, Lease{}, ctx.Err()
		}
		if attempt == 1 || attempt%10 == 0 {
			c.Log.Warn("dhcp: no lease yet", "attempts", attempt, "err", err)
		}
		wait := retryShort
		if attempt >= 5 {
			wait = retryLong
		}
		c.wait(ctx, jitter(wait))
	}
}

// ask makes one exchange and checks its result.
func (c *Client) ask(ctx context.Context, exchange func(context.Context, *nclient4.Lease) (*nclient4.Lease, error), old *nclient4.Lease) (*nclient4.Lease, Lease, error) {
	raw, err := exchange(ctx, old)
	if err != nil {
		return nil, Lease{}, err
	}
	lease, err := Parse(raw.ACK)
	return raw, lease, err
}

// keep renews the lease and returns nil when it is lost.
func (c *Client) keep(ctx context.Context, raw **nclient4.Lease, lease Lease, publish func(*Lease)) error {
	started := time.Now()
	doubts := 0 // questions without answer since the link came back
	for {
		age := time.Since(started)
		if age >= lease.Expire {
			return nil
		}
		if c.wait(ctx, c.pause(lease, age, doubts)) {
			doubts = 1
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		asked := time.Now()
		attempt, cancel := context.WithDeadline(ctx, started.Add(lease.Expire))
		next, renewed, err := c.ask(attempt, c.question(lease, time.Since(started), doubts), *raw)
		cancel()
		if nak := (*nclient4.ErrNak)(nil); errors.As(err, &nak) {
			return nil
		}
		if err != nil {
			c.Log.Warn("dhcp: lease not renewed", "err", err, "expires", (lease.Expire - time.Since(started)).Round(time.Second))
			if doubts > 0 {
				doubts++
			}
			continue
		}
		*raw, lease, started, doubts = next, renewed, asked, 0
		publish(&lease)
	}
}

// pause is the time until the next question: half of what remains until the
// next deadline, but not more often than once a minute (RFC 2131, 4.4.5). After
// a link came back the questions go on until there is an answer.
func (c *Client) pause(lease Lease, age time.Duration, doubts int) time.Duration {
	due := lease.Renew - age
	if due <= 0 {
		due = max((lease.Rebind-age)/2, time.Minute)
	}
	if doubts > 0 {
		due = min(due, jitter(retryShort)*time.Duration(min(doubts, 30)))
	}
	return min(due, lease.Expire-age)
}

// question picks what to ask.
func (c *Client) question(lease Lease, age time.Duration, doubts int) func(context.Context, *nclient4.Lease) (*nclient4.Lease, error) {
	switch {
	case doubts > 0:
		return c.Exchange.Confirm
	case age >= lease.Rebind:
		return c.Exchange.Acquire
	default:
		return c.Exchange.Renew
	}
}

// wait returns after d, when ctx ends, or on a kick, which it reports.
func (c *Client) wait(ctx context.Context, d time.Duration) (kicked bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	case <-c.Kick:
		return true
	}
}

// jitter keeps a rack of nodes from asking in step after a power failure.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d)
}
