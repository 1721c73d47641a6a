package figures

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// frame is one that the node has sent.
func frame(ether uint16, body ...byte) []byte {
	f := append(make([]byte, 6), nodeMAC...)
	return append(binary.BigEndian.AppendUint16(f, ether), body...)
}

func ipv4(proto byte, payload ...byte) []byte {
	h := make([]byte, 20)
	h[0], h[9] = 0x45, proto
	return frame(etherIPv4, append(h, payload...)...)
}

func ipv6(next byte, payload ...byte) []byte {
	h := make([]byte, 40)
	h[0], h[6] = 0x60, next
	return frame(etherIPv6, append(h, payload...)...)
}

// pcap is a capture file.
func pcap(frames ...[]byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, pcapMagic)
	b = append(b, make([]byte, pcapHeader-4)...)
	for _, f := range frames {
		b = append(b, make([]byte, 8)...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f)))
		b = append(b, f...)
	}
	return b
}

func TestWhatANodeSends(t *testing.T) {
	foreign := frame(etherARP)
	foreign[11]++
	early := pcap(ipv4(protoTCP, 0, 80, 3, 105))
	b := append(early, pcap(
		frame(etherARP), foreign, frame(etherLLDP, 1), frame(etherLLDP), ipv4(protoICMP, 0), ipv4(protoUDP, 0, 68, 0, 67), ipv4(protoUDP, 1, 1, 0, 53), ipv4(protoUDP, 1, 1, 0, 123),
		ipv4(protoUDP, 1, 1, 4, 1), ipv4(protoTCP, 1, 1, 3, 105), ipv4(47), ipv6(protoICMPv6, 135), ipv6(protoICMPv6, 200), frame(0x1234), frame(etherIPv4, 1),
		ipv6(protoHopByHop, protoICMPv6, 0, 0, 0, 0, 0, 0, 0, 143), ipv6(protoUDP, 1, 1, 0, 123),
	)[pcapHeader:]...)
	list, err := frames(append(b, 1, 2, 3), int64(len(early)))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range unprompted(list) {
		got[f.Name] = f.Value
	}
	want := map[string]float64{
		"ARP": 1, "LLDP": 2, "ICMP": 1, "DHCP": 1, "DNS": 1, "NTP": 2, "UDP to port 1025": 1, "TCP to port 873": 1, "IP protocol 47": 1,
		"ICMPv6 neighbour solicitation": 1, "ICMPv6 type 200": 1, "ICMPv6 multicast listener report": 1, "Ethernet type 1234": 1, "Ethernet type 0800": 1,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if _, err := frames([]byte("GIF89a"), 0); err == nil {
		t.Error("a picture was taken for a capture")
	}
}

// The frames are a node's, but what is in them may be anybody's.
func FuzzKind(f *testing.F) {
	f.Add(pcap(ipv6(protoHopByHop, 58, 0, 0, 0, 0, 0, 0, 0, 143)), int64(0))
	f.Add(pcap(ipv4(protoUDP, 0, 68, 0, 67)), int64(24))
	f.Fuzz(func(t *testing.T, b []byte, from int64) {
		list, err := frames(b, from)
		if err != nil {
			return
		}
		total := 0.0
		for _, g := range unprompted(list) {
			total += g.Value
		}
		if total > float64(bytes.Count(b, nodeMAC)) {
			t.Errorf("%v frames of the node in %x", total, b)
		}
	})
}
