package figures

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"slices"
)

// nodeMAC is the address of a machine's first card, see package vm.
var nodeMAC = net.HardwareAddr{0x52, 0x54, 0x00, 0x6d, 0x6d, 0x00}

// Of pcap-savefile(5).
const (
	pcapMagic  = 0xa1b2c3d4
	pcapHeader = 24
	pcapRecord = 16
)

// frames returns the packets of a capture file that begin at an offset or later.
func frames(b []byte, from int64) (list [][]byte, err error) {
	if len(b) < pcapHeader || binary.LittleEndian.Uint32(b) != pcapMagic {
		return nil, fmt.Errorf("figures: no capture file, or of another kind")
	}
	for at := int64(pcapHeader); int64(len(b))-at >= pcapRecord; {
		size := int64(binary.LittleEndian.Uint32(b[at+8:]))
		end := at + pcapRecord + size
		if end > int64(len(b)) {
			break // still being written
		}
		if at >= from {
			list = append(list, b[at+pcapRecord:end])
		}
		at = end
	}
	return list, nil
}

// unprompted counts what the node has sent, by kind.
func unprompted(frames [][]byte) (out []Figure) {
	counts := map[string]float64{}
	for _, f := range frames {
		if len(f) >= 14 && slices.Equal(f[6:12], nodeMAC) {
			counts[kind(f)]++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, Figure{Group: "sent in a minute, unasked", Name: name, Value: counts[name], Unit: "packets"})
	}
	return out
}

// Of IEEE 802 and of IANA.
const (
	etherIPv4, etherARP, etherIPv6, etherLLDP = 0x0800, 0x0806, 0x86dd, 0x88cc
	protoHopByHop, protoICMP, protoTCP        = 0, 1, 6
	protoUDP, protoICMPv6                     = 17, 58
)

// kind names what a frame is about.
func kind(f []byte) string {
	body := f[14:]
	switch ether := binary.BigEndian.Uint16(f[12:]); {
	case ether == etherARP:
		return "ARP"
	case ether == etherLLDP:
		return "LLDP"
	case ether == etherIPv4 && len(body) >= 20:
		return transport(body[9], body[min(len(body), int(body[0]&15)*4):])
	case ether == etherIPv6 && len(body) >= 40:
		next, rest := body[6], body[40:]
		if next == protoHopByHop && len(rest) >= 8 {
			next, rest = rest[0], rest[min(len(rest), 8+int(rest[1])*8):]
		}
		return transport(next, rest)
	default:
		return fmt.Sprintf("Ethernet type %04x", ether)
	}
}

func transport(proto byte, b []byte) string {
	switch {
	case proto == protoICMP:
		return "ICMP"
	case proto == protoICMPv6 && len(b) > 0:
		if name, ok := map[byte]string{128: "echo", 129: "echo reply", 133: "router solicitation", 135: "neighbour solicitation",
			136: "neighbour advertisement", 143: "multicast listener report"}[b[0]]; ok {
			return "ICMPv6 " + name
		}
		return fmt.Sprintf("ICMPv6 type %d", b[0])
	case proto == protoTCP && len(b) >= 4:
		return fmt.Sprintf("TCP to port %d", binary.BigEndian.Uint16(b[2:]))
	case proto == protoUDP && len(b) >= 4:
		port := binary.BigEndian.Uint16(b[2:])
		if name, ok := map[uint16]string{53: "DNS", 67: "DHCP", 123: "NTP"}[port]; ok {
			return name
		}
		return fmt.Sprintf("UDP to port %d", port)
	}
	return fmt.Sprintf("IP protocol %d", proto)
}
