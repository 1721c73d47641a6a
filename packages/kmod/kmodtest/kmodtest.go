// Package kmodtest makes kernel modules for tests: ELF files that say about
// themselves what a test wants, for those who only read them.
package kmodtest

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// Module is a module as far as depmod looks at one.
type Module struct {
	Modinfo []string // "key=value"
	Exports []string // symbols
	Wanted  []string // symbols of other modules
}

type section struct {
	name    string
	typ     uint32 // SHT_…
	data    []byte
	link    uint32
	entSize uint64
}

const (
	progBits = 1
	symTab   = 2
	strTab   = 3
)

// ELF assembles the module as a relocatable ELF64 file.
func (m Module) ELF() []byte {
	symbols, names := m.symbols()
	sections := []section{
		{}, // number 0 is reserved
		{name: ".modinfo", typ: progBits, data: list(m.Modinfo)},
		{name: "__ksymtab_strings", typ: progBits, data: list(m.Exports)},
		{name: ".strtab", typ: strTab, data: names},
		{name: ".symtab", typ: symTab, data: symbols, link: 3, entSize: 24},
		{name: ".shstrtab", typ: strTab},
	}
	sectionNames, offsets := []byte{0}, make([]uint32, len(sections))
	for i, s := range sections[1:] {
		offsets[i+1] = uint32(len(sectionNames))
		sectionNames = append(append(sectionNames, s.name...), 0)
	}
	sections[len(sections)-1].data = sectionNames

	var body, headers bytes.Buffer
	for i, s := range sections {
		at := uint64(64 + body.Len())
		if i == 0 {
			at = 0
		}
		body.Write(s.data)
		put(&headers, offsets[i], s.typ, uint64(0), uint64(0), at, uint64(len(s.data)), s.link, uint32(0), uint64(1), s.entSize)
	}
	var out bytes.Buffer
	out.WriteString("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9))
	put(&out, uint16(1), uint16(62), uint32(1), uint64(0), uint64(0), uint64(64+body.Len()), uint32(0),
		uint16(64), uint16(0), uint16(0), uint16(64), uint16(len(sections)), uint16(len(sections)-1))
	out.Write(body.Bytes())
	out.Write(headers.Bytes())
	return out.Bytes()
}

// symbols makes an undefined global symbol of each that is wanted.
func (m Module) symbols() (table, names []byte) {
	names, table = []byte{0}, make([]byte, 24)
	for _, s := range m.Wanted {
		entry := make([]byte, 24)
		binary.LittleEndian.PutUint32(entry, uint32(len(names)))
		entry[4] = 1 << 4
		table = append(table, entry...)
		names = append(append(names, s...), 0)
	}
	return table, names
}

func list(s []string) []byte { return []byte(strings.Join(s, "\x00") + "\x00") }

func put(w *bytes.Buffer, values ...any) {
	for _, v := range values {
		binary.Write(w, binary.LittleEndian, v) // to memory: cannot fail
	}
}
