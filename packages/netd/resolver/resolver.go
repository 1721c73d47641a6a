// Package resolver finds out which name servers answer, and says which to use.
//
// A server is asked for the root's name servers, which every resolver knows. It
// answers if it says anything that helps: one that refuses, or that fails itself
// because nothing is behind it, is none.
//
// Promise: what comes back is checked and bounded; a forged answer can at most make
// a server be used that was given anyway.
//
// Ports: UDP 53 out.
package resolver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// patience is how long a server may take; it is asked twice, as packets get lost.
const (
	patience = 2 * time.Second
	tries    = 2
	port     = 53
)

// Ask asks a server. The error says why it is of no use.
func Ask(ctx context.Context, server netip.Addr) error {
	return ask(ctx, netip.AddrPortFrom(server, port), patience)
}

func ask(ctx context.Context, server netip.AddrPort, patience time.Duration) (err error) {
	for range tries {
		if err = askOnce(ctx, server, patience); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func askOnce(ctx context.Context, server netip.AddrPort, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", server.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	var id [2]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	q, err := query(binary.BigEndian.Uint16(id[:]))
	if err != nil {
		return err
	}
	if _, err := conn.Write(q); err != nil {
		return err
	}
	b := make([]byte, 4096)
	for {
		n, err := conn.Read(b)
		if err != nil {
			return fmt.Errorf("no answer: %w", err)
		}
		if err := check(binary.BigEndian.Uint16(id[:]), b[:n]); !errors.Is(err, errForeign) {
			return err
		}
	}
}

var question = dnsmessage.Question{Name: dnsmessage.MustNewName("."), Type: dnsmessage.TypeNS, Class: dnsmessage.ClassINET}

func query(id uint16) ([]byte, error) {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: id, RecursionDesired: true}, Questions: []dnsmessage.Question{question}}
	return m.Pack()
}

// errForeign means that a packet is no answer to what was asked.
var errForeign = errors.New("not an answer to the question")

// check judges an answer.
func check(id uint16, b []byte) error {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || h.ID != id || !h.Response {
		return errForeign
	}
	if q, err := p.Question(); err != nil || q != question {
		return errForeign
	}
	if h.RCode != dnsmessage.RCodeSuccess && h.RCode != dnsmessage.RCodeNameError {
		return fmt.Errorf("answers with %v", h.RCode)
	}
	return nil
}

// Order says which servers to use, best first. The tiers are lists of servers, the
// first of them those that are to be used; the others only help out when none of
// a tier before them answers. What is not known to be silent answers. Of the
// first tier all stay, so that they are back as soon as they answer again.
func Order(silent map[netip.Addr]bool, tiers ...[]netip.Addr) (out []netip.Addr) {
	if len(tiers) == 0 {
		return nil
	}
	for _, tier := range tiers {
		for _, server := range tier {
			if !silent[server] && !slices.Contains(out, server) {
				out = append(out, server)
			}
		}
		if len(out) > 0 {
			break
		}
	}
	for _, server := range tiers[0] {
		if !slices.Contains(out, server) {
			out = append(out, server)
		}
	}
	return out
}
