package kmod

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// testModule is a kernel module as far as depmod looks at one: .modinfo, the
// symbols it exports and those that it wants.
type testModule struct {
	modinfo         []string
	exports, wanted []string
}

// elf assembles a relocatable ELF64 file.
func (m testModule) elf(t testing.TB) []byte {
	t.Helper()
	type section struct {
		name    string
		typ     uint32
		data    []byte
		link    uint32
		entsize uint64
	}
	strtab := []byte{0}
	symtab := make([]byte, 24)
	for _, s := range m.wanted {
		sym := make([]byte, 24)
		binary.LittleEndian.PutUint32(sym, uint32(len(strtab)))
		sym[4] = 1 << 4 // global, undefined
		symtab = append(symtab, sym...)
		strtab = append(append(strtab, s...), 0)
	}
	sections := []section{
		{}, // index 0 is reserved
		{name: ".modinfo", typ: 1, data: []byte(strings.Join(m.modinfo, "\x00") + "\x00")},
		{name: "__ksymtab_strings", typ: 1, data: []byte(strings.Join(m.exports, "\x00") + "\x00")},
		{name: ".strtab", typ: 3, data: strtab},
		{name: ".symtab", typ: 2, data: symtab, link: 3, entsize: 24},
		{name: ".shstrtab", typ: 3},
	}
	names := []byte{0}
	offsets := make([]uint32, len(sections))
	for i, s := range sections[1:] {
		offsets[i+1] = uint32(len(names))
		names = append(append(names, s.name...), 0)
	}
	sections[len(sections)-1].data = names

	var body, headers bytes.Buffer
	for i, s := range sections {
		at := uint64(64 + body.Len())
		if i == 0 {
			at = 0
		}
		body.Write(s.data)
		body.Write(make([]byte, -len(s.data)&7))
		for _, v := range []any{offsets[i], s.typ, uint64(0), uint64(0), at, uint64(len(s.data)), s.link, uint32(0), uint64(1), s.entsize} {
			binary.Write(&headers, binary.LittleEndian, v)
		}
	}
	var out bytes.Buffer
	out.WriteString("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9))
	for _, v := range []any{uint16(1), uint16(62), uint32(1), uint64(0), uint64(0), uint64(64 + body.Len()), uint32(0),
		uint16(64), uint16(0), uint16(0), uint16(64), uint16(len(sections)), uint16(len(sections) - 1)} {
		binary.Write(&out, binary.LittleEndian, v)
	}
	out.Write(body.Bytes())
	out.Write(headers.Bytes())
	return out.Bytes()
}
