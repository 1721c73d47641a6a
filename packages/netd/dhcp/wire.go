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

// Confirm implements Exchange as a client does after a restart (RFC 2131, 3.2):
// unlike a renewal, the question names no server, so that one on a new network
// may say no.
func (w Wire) Confirm(ctx context.Context, old *nclient4.Lease) (*nclient4.Lease, error) {
	c, err := w.open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	mods := append(w.modifiers(), dhcpv4.WithHwAddr(c.InterfaceAddr()), dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest),
		dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(old.ACK.YourIPAddr)), dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(nclient4.MaxMessageSize)))
	question, err := dhcpv4.New(mods...)
	if err != nil {
		return nil, fmt.Errorf("dhcp: confirm: %w", err)
	}
	answer, err := c.SendAndRead(ctx, nclient4.DefaultServers, question, nclient4.IsMessageType(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak))
	if err != nil {
		return nil, fmt.Errorf("dhcp: confirm: %w", err)
	}
	if answer.MessageType() == dhcpv4.MessageTypeNak {
		return nil, &nclient4.ErrNak{Offer: old.Offer, Nak: answer}
	}
	return &nclient4.Lease{Offer: answer, ACK: answer, CreationTime: time.Now()}, nil
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
