package vt

import (
	"os"
	"runtime"
	"unsafe"
)

// kdFont is the ioctl that reads and sets a terminal's font.
const (
	kdFont  = 0x4b72
	fontSet = 0
	fontGet = 1
)

// font is struct console_font_op.
type font struct {
	op, flags, width, height, count uint32
	data                            unsafe.Pointer
}

// A glyph takes pitch rows of whole bytes, however high it is.
const (
	pitch     = 32
	maxGlyphs = 512
)

// doubleFont makes the usual 8×16 font twice as large, so that it can be read
// from where the cable is. Other fonts are large already.
func doubleFont(f *os.File) {
	old := make([]byte, maxGlyphs*4*pitch)
	get := font{op: fontGet, width: 32, height: 32, count: maxGlyphs, data: unsafe.Pointer(&old[0])}
	ok := call(f, kdFont, uintptr(unsafe.Pointer(&get)))
	runtime.KeepAlive(old)
	if !ok || get.width != 8 || get.height != 16 || get.count > maxGlyphs {
		return
	}
	large := double(old[:get.count*pitch])
	set := font{op: fontSet, width: 16, height: 32, count: get.count, data: unsafe.Pointer(&large[0])}
	call(f, kdFont, uintptr(unsafe.Pointer(&set)))
	runtime.KeepAlive(large)
}

// double turns glyphs of 8×16 into glyphs of 16×32 points.
func double(glyphs []byte) []byte {
	out := make([]byte, 0, 2*len(glyphs))
	for ; len(glyphs) >= pitch; glyphs = glyphs[pitch:] {
		for _, row := range glyphs[:pitch/2] {
			wide := widen(row)
			hi, lo := byte(wide>>8), byte(wide)
			out = append(out, hi, lo, hi, lo)
		}
	}
	return out
}

// widen doubles each bit of a row.
func widen(row byte) (wide uint16) {
	for bit := range 8 {
		if row&(1<<bit) != 0 {
			wide |= 3 << (2 * bit)
		}
	}
	return wide
}
