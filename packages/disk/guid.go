package disk

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// GUID is a GUID as it stands on a disk: the first three groups little-endian.
type GUID [16]byte

// Partition type GUIDs (UEFI specification, Discoverable Partitions
// Specification). The identity partition has a type of its own so that no tool
// takes it for a file system.
var (
	typeESP      = mustGUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
	typeRoot     = mustGUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")
	typeLinux    = mustGUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
	typeIdentity = mustGUID("3f0c2d0a-7a55-4f7b-9a36-1c6a5d6d6d69")
)

// NewGUID returns a random GUID (version 4).
func NewGUID() GUID {
	var g GUID
	rand.Read(g[:]) // never fails
	g[7] = g[7]&0x0f | 0x40
	g[8] = g[8]&0x3f | 0x80
	return g
}

// ParseGUID reads the usual text form, in either case.
func ParseGUID(s string) (GUID, error) {
	var g GUID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return g, fmt.Errorf("parse GUID %q: not of the form 01234567-89ab-cdef-0123-456789abcdef", s)
	}
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != len(g) {
		return g, fmt.Errorf("parse GUID %q: not hexadecimal", s)
	}
	copy(g[:], b)
	g.swap()
	return g, nil
}

// String returns the text form in lower case, as the kernel prints it.
func (g GUID) String() string {
	g.swap()
	return fmt.Sprintf("%x-%x-%x-%x-%x", g[:4], g[4:6], g[6:8], g[8:10], g[10:])
}

// swap converts between the disk's byte order and the text's.
func (g *GUID) swap() {
	binary.BigEndian.PutUint32(g[0:], binary.LittleEndian.Uint32(g[0:]))
	binary.BigEndian.PutUint16(g[4:], binary.LittleEndian.Uint16(g[4:]))
	binary.BigEndian.PutUint16(g[6:], binary.LittleEndian.Uint16(g[6:]))
}

func mustGUID(s string) GUID {
	g, err := ParseGUID(s)
	if err != nil {
		panic(err)
	}
	return g
}
