package wire

// ndxState is what index compression remembers in one direction.
type ndxState struct{ positive, negative int32 }

func newNdxState() ndxState { return ndxState{positive: -1, negative: 1} }

// Ndx reads a file index, or one of the Ndx constants.
func (r *Reader) Ndx() int32 {
	if r.protocol < 30 {
		return r.Int32()
	}
	b := r.Byte()
	prev, negative := &r.ndx.positive, false
	switch b {
	case 0:
		return NdxDone
	case 0xFF:
		prev, negative = &r.ndx.negative, true
		b = r.Byte()
	}
	v := int64(*prev) + int64(b)
	if b == 0xFE {
		v = r.wideNdx(*prev)
	}
	v = r.Bounded(v, 0, 1<<31-1, "file index")
	*prev = int32(v)
	if negative {
		v = -v
	}
	return int32(v)
}

// wideNdx reads what follows 0xFE: a difference in two bytes, big endian, or,
// with the high bit set, the index itself.
func (r *Reader) wideNdx(prev int32) int64 {
	hi := r.Byte()
	lo := int64(r.Byte())
	if hi&0x80 == 0 {
		return int64(hi)<<8 + lo + int64(prev)
	}
	mid := int64(r.Byte())
	return lo | mid<<8 | int64(r.Byte())<<16 | int64(hi&^0x80)<<24
}

// Ndx writes a file index, or one of the Ndx constants.
func (w *Writer) Ndx(v int32) {
	if w.protocol < 30 {
		w.Int32(v)
		return
	}
	w.room(8)
	if v == NdxDone {
		w.buf = append(w.buf, 0)
		return
	}
	prev := &w.ndx.positive
	if v < 0 {
		w.buf = append(w.buf, 0xFF)
		prev, v = &w.ndx.negative, -v
	}
	diff := int64(v) - int64(*prev)
	*prev = v
	switch {
	case diff > 0 && diff < 0xFE:
		w.buf = append(w.buf, byte(diff))
	case diff < 0 || diff > 0x7FFF:
		w.buf = append(w.buf, 0xFE, byte(v>>24)|0x80, byte(v), byte(v>>8), byte(v>>16))
	default:
		w.buf = append(w.buf, 0xFE, byte(diff>>8), byte(diff))
	}
}
