package smart

import (
	"encoding/binary"
	"fmt"
)

// The ATA commands that are sent, and the subcommands of SMART.
const (
	ataIdentify   = 0xec
	ataReadLogExt = 0x2f
	ataSMART      = 0xb0

	smartData       = 0xd0
	smartThresholds = 0xd1
	smartStatus     = 0xda
)

// SMART commands carry this signature in LBA mid and high; a failing disk
// answers smartStatus with another one.
const (
	smartMid, smartHigh     = 0x4f, 0xc2
	failingMid, failingHigh = 0xf4, 0x2c
)

// statisticsLog holds the device statistics; its page solidState those of SSDs.
const (
	statisticsLog = 0x04
	solidState    = 0x07
)

// ataCommand is one command. With data it answers with a sector, without with
// the LBA registers.
type ataCommand struct {
	command, feature  byte
	low, mid, high    byte
	extended, without bool // 48-bit form; no data
}

// ataPort carries out commands on an ATA disk.
type ataPort interface {
	// do returns the sector read, or, for a command without data, the LBA mid
	// and high registers.
	do(c ataCommand) (sector []byte, mid, high byte, err error)
}

func readATA(d ataPort) (Health, error) {
	h := unknown()
	id, _, _, err := d.do(ataCommand{command: ataIdentify})
	if err != nil {
		return h, err
	}
	rotating, capable := identity(id, &h)
	if !capable {
		return h, ErrUnsupported
	}
	data, _, _, err := d.do(ataCommand{command: ataSMART, feature: smartData, mid: smartMid, high: smartHigh})
	if err != nil {
		return h, fmt.Errorf("read SMART data: %w", err)
	}
	limits, _, _, err := d.do(ataCommand{command: ataSMART, feature: smartThresholds, mid: smartMid, high: smartHigh})
	if err != nil {
		limits = nil // obsolete in newer standards; the verdict remains
	}
	attributes(data, limits, !rotating, &h)
	if page, _, _, err := d.do(ataCommand{command: ataReadLogExt, low: statisticsLog, mid: solidState, extended: true}); err == nil {
		endurance(page, &h)
	}
	_, mid, high, err := d.do(ataCommand{command: ataSMART, feature: smartStatus, mid: smartMid, high: smartHigh, without: true})
	if err == nil && mid == failingMid && high == failingHigh {
		h.Failing = true
		h.Why = append(h.Why, "the disk expects to fail soon")
	}
	return h, nil
}

// identity reads IDENTIFY DEVICE: strings have their bytes swapped in pairs.
func identity(id []byte, h *Health) (rotating, capable bool) {
	if len(id) < 512 {
		return false, false
	}
	word := func(n int) uint16 { return binary.LittleEndian.Uint16(id[2*n:]) }
	h.Model, h.Serial = text(swapped(id[54:94])), text(swapped(id[20:40]))
	// Words 82 and 85 say what is supported and on; both are invalid unless
	// bits 15:14 of word 83 and 87 are 01.
	const valid, mask = 0x4000, 0xc000
	capable = word(83)&mask == valid && word(82)&1 != 0 && word(85)&1 != 0
	return word(217) != 1, capable
}

func swapped(b []byte) []byte {
	out := make([]byte, len(b))
	for i := 0; i+1 < len(b); i += 2 {
		out[i], out[i+1] = b[i+1], b[i]
	}
	return out
}

// The attributes whose meaning is the same with all makers.
const (
	attrReplaced     = 5
	attrHours        = 9
	attrAirflow      = 190
	attrTemperature  = 194
	attrPending      = 197
	attrUncorrected  = 198
	attributeCount   = 30
	attributeSize    = 12
	attributesOffset = 2
)

// lifeLeft are the attributes in which makers of SSDs say how much life is left,
// in percent, most telling first.
var lifeLeft = [...]byte{231, 202, 233, 177, 169}

// attribute is one row of the table.
type attribute struct {
	value byte
	raw   uint64
}

func attributes(data, limits []byte, ssd bool, h *Health) {
	table := rows(data, func(row []byte) attribute {
		var raw [8]byte
		copy(raw[:6], row[5:11])
		return attribute{value: row[3], raw: binary.LittleEndian.Uint64(raw[:])}
	})
	for id, limit := range rows(limits, func(row []byte) byte { return row[1] }) {
		// A limit of 0 never trips, 254 and 255 are not limits.
		if a, ok := table[id]; ok && limit > 0 && limit < 254 && a.value <= limit && prefailure(data, id) {
			h.Failing = true
			h.Why = append(h.Why, fmt.Sprintf("SMART attribute %d is at %d, its limit is %d", id, a.value, limit))
		}
	}
	if a, ok := table[attrReplaced]; ok {
		h.Replaced = int64(a.raw)
	}
	if a, ok := table[attrHours]; ok {
		h.Hours = int64(a.raw & 0xffffffff) // some put minutes above
	}
	for _, id := range [...]byte{attrAirflow, attrTemperature} {
		if a, ok := table[id]; ok && a.raw != 0 {
			h.Celsius = int(a.raw & 0xff)
		}
	}
	for _, id := range [...]byte{attrPending, attrUncorrected} {
		if a, ok := table[id]; ok {
			h.Unreadable = max(h.Unreadable, int64(a.raw&0xffffffff))
		}
	}
	for _, id := range lifeLeft {
		if a, ok := table[id]; ssd && ok && a.value > 0 && a.value <= 100 {
			h.Worn = 100 - int(a.value)
			return
		}
	}
}

// rows reads the table of attributes or of limits, which have the same layout.
func rows[T any](sector []byte, f func(row []byte) T) map[byte]T {
	out := map[byte]T{}
	for i := range attributeCount {
		at := attributesOffset + i*attributeSize
		if at+attributeSize > len(sector) {
			break
		}
		if row := sector[at : at+attributeSize]; row[0] != 0 {
			out[row[0]] = f(row)
		}
	}
	return out
}

// prefailure reports whether an attribute foretells a failure; the others speak
// of age.
func prefailure(data []byte, id byte) bool {
	return rows(data, func(row []byte) bool { return row[1]&1 != 0 })[id]
}

// endurance reads the standard's own figure for the wear of an SSD, which stands
// above what makers put into attributes.
func endurance(page []byte, h *Health) {
	const at, valid = 8, 0xc0 // supported and valid
	if len(page) >= at+8 && page[2] == solidState && page[at+7]&valid == valid {
		h.Worn = int(page[at])
	}
}
