// Package arp finds out whether an IPv4 address is free, and announces it
// (RFC 5227), as the kernel does for IPv6 by itself.
//
// Whoever answers a probe is reported with its MAC address. A router that
// answers for everything (proxy ARP) is told apart by asking it for its own
// address too.
//
// Ports: none; Ethernet type 0806 by a packet socket, open while asking.
package arp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/mdlayher/packet"
)

const etherType = 0x0806

// Times of a probe. RFC 5227 waits up to seven seconds; this is as long as the
// kernel takes for IPv6, and a link that has just come up may swallow the first.
const (
	probes  = 4
	between = 350 * time.Millisecond
)

// message is an ARP packet for Ethernet and IPv4.
type message struct {
	operation            uint16
	senderMAC, targetMAC net.HardwareAddr
	sender, target       netip.Addr
}

const (
	request = 1
	reply   = 2
)

// size of a message on the wire.
const size = 28

func (m message) marshal() []byte {
	b := []byte{0, 1, 8, 0, 6, 4}
	b = binary.BigEndian.AppendUint16(b, m.operation)
	b = append(b, m.senderMAC...)
	b = append(b, m.sender.AsSlice()...)
	b = append(b, m.targetMAC...)
	return append(b, m.target.AsSlice()...)
}

func parse(b []byte) (message, bool) {
	if len(b) < size || !bytes.Equal(b[:6], []byte{0, 1, 8, 0, 6, 4}) {
		return message{}, false
	}
	return message{
		operation: binary.BigEndian.Uint16(b[6:]),
		senderMAC: bytes.Clone(b[8:14]), sender: netip.AddrFrom4([4]byte(b[14:18])),
		targetMAC: bytes.Clone(b[18:24]), target: netip.AddrFrom4([4]byte(b[24:28])),
	}, true
}

func broadcast() net.HardwareAddr { return net.HardwareAddr{255, 255, 255, 255, 255, 255} }

// holder returns whose address it is according to a message: that of its
// sender, or of somebody who is probing for it just now.
func (m message) holder(of netip.Addr, self net.HardwareAddr) net.HardwareAddr {
	probing := m.operation == request && m.sender.IsUnspecified() && m.target == of
	if bytes.Equal(m.senderMAC, self) || m.sender != of && !probing {
		return nil
	}
	return m.senderMAC
}

// Holder asks whether somebody has the address and returns its MAC address, or
// nil if nobody answers. A gateway that answers for all addresses does not
// count, if it is given.
func Holder(ctx context.Context, index int, addr, gateway netip.Addr) (net.HardwareAddr, error) {
	ifi, conn, err := open(index)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	q := question{ifi.HardwareAddr,
		func(m message) error { return send(conn, m) },
		func(heard func(message)) error { return errors.Join(listen(conn, between, heard), ctx.Err()) },
	}
	return q.holder(addr, gateway)
}

// question is what is asked on a link.
type question struct {
	self   net.HardwareAddr
	send   func(message) error
	listen func(heard func(message)) error // for a while
}

func (q question) holder(addr, gateway netip.Addr) (net.HardwareAddr, error) {
	holders, err := q.ask(addr)
	if err != nil || len(holders) == 0 {
		return nil, err
	}
	if !gateway.Is4() {
		return holders[0], nil
	}
	// Only now: to a gateway that starts at the same time, being asked like this
	// means that somebody else claims its address.
	routers, err := q.ask(gateway)
	if err != nil {
		return nil, err
	}
	for _, h := range holders {
		if !includes(routers, h) {
			return h, nil
		}
	}
	return nil, nil
}

// ask probes until somebody says to have the address, and returns all who do: a
// router that answers for everything must not hide the one whose it is.
func (q question) ask(addr netip.Addr) (holders []net.HardwareAddr, err error) {
	probe := message{operation: request, senderMAC: q.self, sender: netip.IPv4Unspecified(), targetMAC: make([]byte, 6), target: addr}
	for range probes {
		if err := q.send(probe); err != nil {
			return nil, err
		}
		err := q.listen(func(m message) {
			if h := m.holder(addr, q.self); h != nil && !includes(holders, h) {
				holders = append(holders, h)
			}
		})
		if err != nil || holders != nil {
			return holders, err
		}
	}
	return nil, nil
}

func includes(macs []net.HardwareAddr, mac net.HardwareAddr) bool {
	return slices.ContainsFunc(macs, func(m net.HardwareAddr) bool { return bytes.Equal(m, mac) })
}

// Announce tells everyone on the link that the address is ours.
func Announce(index int, addr netip.Addr) error {
	ifi, conn, err := open(index)
	if err != nil {
		return err
	}
	defer conn.Close()
	return send(conn, message{operation: request, senderMAC: ifi.HardwareAddr, sender: addr, targetMAC: make([]byte, 6), target: addr})
}

func open(index int) (*net.Interface, *packet.Conn, error) {
	ifi, err := net.InterfaceByIndex(index)
	if err != nil {
		return nil, nil, fmt.Errorf("arp: %w", err)
	}
	conn, err := packet.Listen(ifi, packet.Datagram, etherType, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("arp: %w", err)
	}
	return ifi, conn, nil
}

func send(conn *packet.Conn, m message) error {
	if _, err := conn.WriteTo(m.marshal(), &packet.Addr{HardwareAddr: broadcast()}); err != nil {
		return fmt.Errorf("arp: %w", err)
	}
	return nil
}

// listen passes on what is heard within a time.
func listen(conn *packet.Conn, d time.Duration, heard func(message)) error {
	if err := conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		return fmt.Errorf("arp: %w", err)
	}
	buf := make([]byte, 128)
	for {
		n, _, err := conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("arp: %w", err)
		}
		if m, ok := parse(buf[:n]); ok {
			heard(m)
		}
	}
}
