package checksum

import "encoding/binary"

// Weak is the rolling sum of a block: the low half is the sum of its bytes,
// taken as signed, the high half the sum of all those sums on the way.
func Weak(data []byte) uint32 {
	s1, s2, n := wide(data)
	return weakFrom(s1, s2, data[n:])
}

// weakFrom goes on from two sums.
//
// Eight bytes at a time go into eight lanes of 16 bits, made unsigned by adding
// 128 to each, which is taken off in the end. laneWords words fit into a lane.
func weakFrom(s1, s2 uint32, data []byte) uint32 {
	n := uint32(len(data))
	for len(data) >= 8 {
		words := min(len(data)/8, laneWords)
		t1, t2 := lanes(data[:words*8])
		s2 += uint32(words)*8*s1 + t2
		s1 += t1
		data = data[words*8:]
	}
	for _, b := range data {
		s1 += uint32(b ^ 0x80)
		s2 += s1
	}
	s1 -= 128 * n
	s2 -= 128 * (n * (n + 1) / 2)
	return s1&0xFFFF | s2<<16
}

// laneWords is such that neither sum of a lane overflows: 255·22·21/2 < 65,536.
const laneWords = 22

const evenBytes = 0x00FF00FF00FF00FF

// lanes gives both sums of whole words, bytes offset by 128.
func lanes(data []byte) (s1, s2 uint32) {
	const offset = 0x8080808080808080
	var even, odd, evenBefore, oddBefore uint64
	for ; len(data) >= 16; data = data[16:] {
		x := binary.LittleEndian.Uint64(data) ^ offset
		y := binary.LittleEndian.Uint64(data[8:]) ^ offset
		xe, xo := x&evenBytes, x>>8&evenBytes
		evenBefore += 2*even + xe
		oddBefore += 2*odd + xo
		even += xe + y&evenBytes
		odd += xo + y>>8&evenBytes
	}
	if len(data) >= 8 {
		x := binary.LittleEndian.Uint64(data) ^ offset
		evenBefore += even
		oddBefore += odd
		even += x & evenBytes
		odd += x >> 8 & evenBytes
	}
	for k := range 4 {
		e, o := uint32(even>>(16*k)&0xFFFF), uint32(odd>>(16*k)&0xFFFF)
		s1 += e + o
		s2 += uint32(8-2*k)*e + uint32(7-2*k)*o
	}
	return s1, s2 + 8*(across(evenBefore)+across(oddBefore))
}

// across adds up four lanes.
func across(lanes uint64) uint32 {
	const pairs = 0x0000FFFF0000FFFF
	lanes = lanes&pairs + lanes>>16&pairs
	return uint32(lanes) + uint32(lanes>>32)
}

func signed(b byte) uint32 { return uint32(int32(int8(b))) }
