package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/ipv6"
)

// Client listens to the routers of one link.
type Client struct {
	Index int             // of the interface
	Kick  <-chan struct{} // asks to solicit again, as after a link came back
	Log   *slog.Logger
}

// Solicitations are repeated until a router answers (RFC 4861, 6.3.7; the
// first waits shorter than there, and they never quite stop: a router may be
// switched on long after the node).
const (
	solicitEvery  = 4 * time.Second
	solicitSeldom = time.Minute
	solicitOften  = 3
)

type heard struct {
	from netip.Addr
	ra   *ndp.RouterAdvertisement
}

// Run reports the state of the network to publish until ctx ends: first when
// the first router answered, then at each advertisement and each expiry.
func (c *Client) Run(ctx context.Context, publish func(State)) error {
	for {
		err := c.session(ctx, publish)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// The link-local address may not exist yet, or have just gone.
		c.Log.Debug("router: listening again", "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func (c *Client) session(ctx context.Context, publish func(State)) error {
	ifi, err := net.InterfaceByIndex(c.Index)
	if err != nil {
		return fmt.Errorf("router: %w", err)
	}
	conn, _, err := ndp.Listen(ifi, ndp.LinkLocal)
	if err != nil {
		return fmt.Errorf("router: listen on %s: %w", ifi.Name, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() {
		stop()
		conn.Close()
	}()
	if err := prepare(conn); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ras, failed := make(chan heard), make(chan error, 1)
	go func() { failed <- receive(ctx, conn, ras) }()
	return c.loop(ctx, func() error { return solicit(conn, ifi.HardwareAddr) }, ras, failed, publish)
}

// prepare asks for the hop limit of each message and for advertisements only.
func prepare(conn *ndp.Conn) error {
	if err := conn.SetControlMessage(ipv6.FlagHopLimit, true); err != nil {
		return fmt.Errorf("router: %w", err)
	}
	var f ipv6.ICMPFilter
	f.SetAll(true)
	f.Accept(ipv6.ICMPTypeRouterAdvertisement)
	if err := conn.SetICMPFilter(&f); err != nil {
		return fmt.Errorf("router: %w", err)
	}
	return nil
}

// receive passes on advertisements that come from this very link.
func receive(ctx context.Context, conn *ndp.Conn, ras chan<- heard) error {
	for {
		m, cm, from, err := conn.ReadFrom()
		if err != nil {
			return err
		}
		ra, ok := m.(*ndp.RouterAdvertisement)
		if !ok || cm == nil || cm.HopLimit != ndp.HopLimit {
			continue
		}
		select {
		case ras <- heard{from, ra}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func solicit(conn *ndp.Conn, mac net.HardwareAddr) error {
	m := &ndp.RouterSolicitation{Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: mac}}}
	return conn.WriteTo(m, nil, netip.IPv6LinkLocalAllRouters())
}

// loop is the client without the network. A solicitation that cannot be sent
// (the link is down) is tried again like one without an answer.
func (c *Client) loop(ctx context.Context, solicit func() error, ras <-chan heard, failed <-chan error, publish func(State)) error {
	var table Table
	sent := 0
	ask, expiry := time.NewTimer(0), time.NewTimer(time.Hour)
	defer ask.Stop()
	defer expiry.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return errors.Join(errors.New("router: receive"), err)
		case <-c.Kick:
			sent = 0
			ask.Reset(0)
			continue
		case <-ask.C:
			if err := solicit(); err != nil {
				c.Log.Debug("router: solicit", "err", err)
			}
			sent++
			ask.Reset(pause(sent))
			continue
		case h := <-ras:
			table.Update(time.Now(), h.from, h.ra)
		case <-expiry.C:
		}
		next, _ := table.Expire(time.Now())
		s := table.State()
		if len(s.Routers) > 0 {
			ask.Stop()
		} else {
			ask.Reset(pause(sent))
		}
		if !next.IsZero() {
			expiry.Reset(time.Until(next))
		}
		publish(s)
	}
}

func pause(sent int) time.Duration {
	if sent < solicitOften {
		return solicitEvery
	}
	return solicitSeldom
}
