package firewall

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Registers 1 and up of nf_tables are for data.
const reg = 1

// match compares what a loader puts into the register.
func match(load expr.Any, op expr.CmpOp, want []byte) []expr.Any {
	return []expr.Any{load, &expr.Cmp{Op: op, Register: reg, Data: want}}
}

func meta(key expr.MetaKey, want []byte) []expr.Any {
	return match(&expr.Meta{Key: key, Register: reg}, expr.CmpOpEq, want)
}

func network(offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length}
}

func transport(offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length}
}

// family restricts a rule to IPv4 or IPv6.
func family(v4 bool) []expr.Any {
	if v4 {
		return meta(expr.MetaKeyNFPROTO, []byte{unix.NFPROTO_IPV4})
	}
	return meta(expr.MetaKeyNFPROTO, []byte{unix.NFPROTO_IPV6})
}

func protocol(p byte) []expr.Any { return meta(expr.MetaKeyL4PROTO, []byte{p}) }

// Places of the ports in TCP and UDP headers.
const (
	sourcePort = 0
	destPort   = 2
)

func tcpPort(place uint32, port uint16) []expr.Any {
	return append(protocol(unix.IPPROTO_TCP), match(transport(place, 2), expr.CmpOpEq, binaryutil.BigEndian.PutUint16(port))...)
}

// traceroute probes with UDP to these ports; the kernel answers that nobody
// listens.
func traceroute() []expr.Any {
	return append(protocol(unix.IPPROTO_UDP), transport(destPort, 2), &expr.Range{
		Op: expr.CmpOpEq, Register: reg,
		FromData: binaryutil.BigEndian.PutUint16(33434), ToData: binaryutil.BigEndian.PutUint16(33524),
	})
}

// own matches the answers to connections that the node has begun.
func own() []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: reg},
		&expr.Bitwise{
			SourceRegister: reg, DestRegister: reg, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED),
			Xor:  binaryutil.NativeEndian.PutUint32(0),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: []byte{0, 0, 0, 0}},
	}
}

// Places of the addresses in the IP headers.
func addressPlace(v4, source bool) (offset, length uint32) {
	switch {
	case v4 && source:
		return 12, 4
	case v4:
		return 16, 4
	case source:
		return 8, 16
	default:
		return 24, 16
	}
}

// in matches an address that is in a set.
func in(s *nftables.Set, v4, source bool) []expr.Any {
	offset, length := addressPlace(v4, source)
	return append(family(v4), network(offset, length), &expr.Lookup{SourceRegister: reg, SetName: s.Name, SetID: s.ID})
}

// to matches what is sent to a prefix.
func to(p netip.Prefix) []expr.Any {
	v4 := p.Addr().Is4()
	offset, length := addressPlace(v4, false)
	mask := make([]byte, length)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return append(family(v4), network(offset, length),
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: length, Mask: mask, Xor: make([]byte, length)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: p.Addr().AsSlice()})
}

// over matches what exceeds a rate; a tenth of a second may come at once.
func over(bytesPerSecond uint64) expr.Any {
	return &expr.Limit{
		Type: expr.LimitTypePktBytes, Rate: bytesPerSecond, Unit: expr.LimitTimeSecond,
		Burst: uint32(min(max(bytesPerSecond/10, 64<<10), 1<<30)), Over: true,
	}
}

// mark sets the DSCP to CS1 and leaves ECN alone. It lies in the first two bytes
// of the header, differently in the two versions.
func mark(v4 bool) []expr.Any {
	write := &expr.Payload{
		OperationType: expr.PayloadWrite, SourceRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: 0, Len: 2,
	}
	keep, set := []byte{0xf0, 0x3f}, []byte{0x02, 0x00}
	if v4 {
		keep, set = []byte{0xff, 0x03}, []byte{0x00, 0x20}
		write.CsumType, write.CsumOffset = expr.CsumTypeInet, 10
	}
	return append(family(v4), network(0, 2),
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 2, Mask: keep, Xor: set}, write)
}

func verdict(k expr.VerdictKind) expr.Any { return &expr.Verdict{Kind: k} }
