package dhcp

import (
	"context"
	"fmt"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

// Wire is the Exchange over a real network interface.
type Wire struct {
	Interface string
	Hostname  string // sent to the server for its list; may be empty
}

// Each question is repeated this often, a little apart: a port that has just
// come up may not forward at once.
const (
	questions     = 3
	answerTimeout = 2 * time.Second
)

// Acquire implements Exchange.
func (w Wire) Acquire(ctx context.Context, old *nclient4.Lease) (*nclient4.Lease, error) {
	c, err := w.open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	mods := w.modifiers()
	if old != nil {
		mods = append(mods, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(old.ACK.YourIPAddr)))
	}
	offer, err := c.DiscoverOffer(ctx, mods...)
	if err != nil {
		return nil, fmt.Errorf("dhcp: discover: %w", err)
	}
	lease, err := c.RequestFromOffer(ctx, offer, w.modifiers()...)
	if err != nil {
		return nil, fmt.Errorf("dhcp: request %v: %w", offer.YourIPAddr, err)
	}
	return lease, nil
}

// Renew implements Exchange.
func (w Wire) Renew(ctx context.Context, old *nclient4.Lease) (*nclient4.Lease, error) {
	c, err := w.open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	lease, err := c.Renew(ctx, old, w.modifiers()...)
	if err != nil {
		return nil, fmt.Errorf("dhcp: renew: %w", err)
	}
	return lease, nil
}

func (w Wire) open() (*nclient4.Client, error) {
	c, err := nclient4.New(w.Interface, nclient4.WithTimeout(answerTimeout), nclient4.WithRetry(questions))
	if err != nil {
		return nil, fmt.Errorf("dhcp: open %s: %w", w.Interface, err)
	}
	return c, nil
}

func (w Wire) modifiers() []dhcpv4.Modifier {
	mods := []dhcpv4.Modifier{dhcpv4.WithRequestedOptions(
		dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionClasslessStaticRoute,
		dhcpv4.OptionDomainNameServer, dhcpv4.OptionInterfaceMTU, dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue,
	)}
	if w.Hostname != "" {
		mods = append(mods, dhcpv4.WithOption(dhcpv4.OptHostName(w.Hostname)))
	}
	return mods
}
