package sender

import (
	"bytes"

	"micromirror/packages/rsync/checksum"
)

// hopeless is how often the size of the file a matcher may hash in vain, or look
// at blocks in vain, before it stops to compare: only a hostile client makes it.
const hopeless = 16

// matcher sends a file as references to blocks that the client has, and literal
// data between them. It reads the file once, from front to back.
type matcher struct {
	*basis // nil: all is literal
	out    *output
	in     *window
	// inplace: the client writes into its old version, so only blocks that it
	// has not overwritten yet can be referred to.
	inplace bool

	pos    int64 // of the block that is compared
	sent   int64 // all before has been sent
	want   int32 // the block that most likely comes next
	wasted int64 // bytes hashed and blocks looked at in vain
	strong []byte
}

// run sends the file up to its end, without the token that says so.
func (m *matcher) run() {
	if m.basis != nil {
		m.compare()
	}
	m.literal(m.in.size)
}

func (m *matcher) compare() {
	end := m.in.size - int64(m.Last()) // no block starts later
	for m.pos <= end && !m.givenUp() {
		block := m.view(min(int64(m.BlockLen), m.in.size-m.pos))
		block = block[:min(int(m.BlockLen), len(block))]
		sum := checksum.Weak(block)
		if i := m.find(m.pos, sum, block); i >= 0 {
			m.matched(i, block)
			continue
		}
		m.roll(sum, len(block), end)
	}
}

// givenUp reports whether comparing does not pay.
func (m *matcher) givenUp() bool {
	return m.wasted > hopeless*(m.in.size+int64(m.BlockLen)) || m.out.w.Err() != nil
}

// view gives at least need bytes from pos on, and as many as are at hand. What
// has been passed over is sent before the window moves on.
func (m *matcher) view(need int64) []byte {
	if !m.in.holds(m.pos, need) {
		m.literal(m.pos)
		m.in.slide(m.pos)
	}
	return m.in.from(m.pos)
}

// roll moves a block of n bytes that did not match forward, byte by byte, until
// it matches or no block can start any more. sum is its weak sum.
func (m *matcher) roll(sum uint32, n int, end int64) {
	s1, s2 := sum&0xFFFF, sum>>16
	for m.pos < end && !m.givenUp() {
		data := m.view(min(int64(n)+1, m.in.size-m.pos))
		steps := int(min(int64(len(data)-n), end-m.pos))
		at := 0
		for ; at < steps; at++ {
			out, in := signed(data[at]), signed(data[at+n])
			s1 += in - out
			s2 += s1 - uint32(n)*out
			sum = s1&0xFFFF | s2<<16
			if m.heads[m.hash(sum)] == 0 {
				continue
			}
			block := data[at+1 : at+1+n]
			if i := m.find(m.pos+int64(at)+1, sum, block); i >= 0 {
				m.pos += int64(at) + 1
				m.matched(i, block)
				return
			}
			if m.givenUp() {
				return
			}
		}
		m.pos += int64(at)
		if m.pos+int64(n) == m.in.size && m.pos < end {
			// At the end of the file the block gets shorter.
			m.tail(s1, s2, n, end)
			return
		}
	}
	m.pos = max(m.pos, end+1)
}

// tail looks for the client's last block, which may be shorter than the others,
// at the end of the file.
func (m *matcher) tail(s1, s2 uint32, n int, end int64) {
	data := m.view(int64(n))
	for at := 0; m.pos < end && !m.givenUp(); at++ {
		s1 -= signed(data[at])
		s2 -= uint32(n-at) * signed(data[at])
		m.pos++
		block := data[at+1 : n]
		if i := m.find(m.pos, s1&0xFFFF|s2<<16, block); i >= 0 {
			m.matched(i, block)
			return
		}
	}
	m.pos = end + 1
}

func signed(b byte) uint32 { return uint32(int32(int8(b))) }

// find gives a block of the client's that equals the one at pos, or -1.
func (m *matcher) find(pos int64, sum uint32, block []byte) int32 {
	known := false
	same := func(i int32) bool {
		if m.weak[i] != sum || m.sizeOf(i) != len(block) || m.inplace && int64(i)*int64(m.BlockLen) < pos {
			return false
		}
		if !known {
			m.strong = m.sums.Block(m.strong[:0], block)
			known = true
		}
		return bytes.Equal(m.strong[:m.SumLen], m.strongOf(i))
	}
	if m.want < m.Count && same(m.want) {
		return m.want
	}
	i, looked := m.heads[m.hash(sum)], 0
	for ; i != 0 && looked < maxChain; looked++ {
		if same(i - 1) {
			return i - 1
		}
		i = m.next[i-1]
	}
	m.wasted += int64(looked)
	if known {
		m.wasted += int64(len(block))
	}
	return -1
}

func (m *matcher) sizeOf(i int32) int {
	_, n := m.Block(i)
	return n
}

// matched sends what came before the block at pos, and a reference to the
// client's block i in place of it.
func (m *matcher) matched(i int32, block []byte) {
	m.literal(m.pos)
	m.out.reference(i, block)
	m.pos += int64(len(block))
	m.sent = m.pos
	m.want = i + 1
}

// literal sends the file's bytes up to a position.
func (m *matcher) literal(to int64) {
	for m.sent < to && m.out.w.Err() == nil {
		if !m.in.holds(m.sent, 1) {
			m.in.slide(m.sent)
		}
		data := m.in.from(m.sent)
		data = data[:min(int64(len(data)), to-m.sent)]
		m.out.literal(data)
		m.sent += int64(len(data))
	}
}
