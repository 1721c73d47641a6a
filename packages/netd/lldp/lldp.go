// Package lldp tells the switch who is at its port (IEEE 802.1AB, sending only).
//
// A host's staff look at their switch to find a box; the announcement carries
// the node's name, who hosts it, its version and its addresses. Nothing is
// received, so nothing a neighbour sends can matter. An announcement is good for
// two minutes and sent four times in that time; a last one takes it back.
//
// Ports: none; Ethernet type 88CC by a packet socket.
package lldp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/packet"
)

// Info is what is announced.
type Info struct {
	Port        string // name of the network port
	Name        string // full host name
	Description string // for people
	Addresses   []netip.Addr
}

// Times of the standard.
const (
	every    = 30 * time.Second
	lifetime = 120 // seconds
)

// etherType is LLDP's.
const etherType = 0x88cc

// nearest is the group address that no bridge forwards.
func nearest() net.HardwareAddr { return net.HardwareAddr{0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e} }

// Types of elements.
const (
	endOfPDU    = 0
	chassis     = 1
	portID      = 2
	timeToLive  = 3
	portDesc    = 4
	systemName  = 5
	systemDesc  = 6
	capability  = 7
	management  = 8
	byMAC       = 4      // subtype of a chassis
	byInterface = 5      // subtype of a port
	station     = 1 << 7 // the only capability: neither bridge nor router
)

// maxText is the most that an element of text holds.
const maxText = 255

// maxAddresses bounds the frame.
const maxAddresses = 8

// PDU encodes an announcement; a lifetime of 0 takes earlier ones back.
func PDU(mac net.HardwareAddr, index int, seconds uint16, i Info) []byte {
	b := tlv(nil, chassis, append([]byte{byMAC}, mac...))
	b = tlv(b, portID, append([]byte{byInterface}, text(i.Port)...))
	b = tlv(b, timeToLive, binary.BigEndian.AppendUint16(nil, seconds))
	if seconds == 0 {
		return tlv(b, endOfPDU, nil)
	}
	b = tlv(b, portDesc, text(i.Port))
	b = tlv(b, systemName, text(i.Name))
	b = tlv(b, systemDesc, text(i.Description))
	b = tlv(b, capability, binary.BigEndian.AppendUint32(nil, station<<16|station))
	for _, a := range i.Addresses[:min(len(i.Addresses), maxAddresses)] {
		b = tlv(b, management, address(a, index))
	}
	return tlv(b, endOfPDU, nil)
}

// tlv appends an element: seven bits of type, nine of length.
func tlv(b []byte, kind uint16, value []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, kind<<9|uint16(len(value)))
	return append(b, value...)
}

func text(s string) []byte { return []byte(s[:min(len(s), maxText)]) }

// address encodes a management address with the number of its interface.
func address(a netip.Addr, index int) []byte {
	family, raw := byte(2), a.AsSlice() // of the IANA's address families
	if a.Is4() {
		family = 1
	}
	const ifIndex = 2 // how the interface is numbered
	v := append([]byte{byte(1 + len(raw)), family}, raw...)
	v = binary.BigEndian.AppendUint32(append(v, ifIndex), uint32(index))
	return append(v, 0) // no object identifier
}

// Run announces what info returns, at once, every half minute and after each
// kick, until ctx ends.
func Run(ctx context.Context, index int, kick <-chan struct{}, info func() Info) error {
	ifi, err := net.InterfaceByIndex(index)
	if err != nil {
		return fmt.Errorf("lldp: %w", err)
	}
	conn, err := packet.Listen(ifi, packet.Raw, etherType, nil)
	if err != nil {
		return fmt.Errorf("lldp: %w", err)
	}
	defer conn.Close()
	send := func(seconds uint16) error {
		frame := append(append(nearest(), ifi.HardwareAddr...), etherType>>8, etherType&0xff)
		frame = append(frame, PDU(ifi.HardwareAddr, index, seconds, info())...)
		_, err := conn.WriteTo(frame, &packet.Addr{HardwareAddr: nearest()})
		return err
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		// While the link is down sending fails; the next time may be better.
		err := send(lifetime)
		select {
		case <-ctx.Done():
			if err == nil {
				err = send(0)
			}
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		case <-kick:
		}
	}
}
