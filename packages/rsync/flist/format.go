package flist

// Format is what both sides have agreed on about how a list travels: it decides
// which fields an entry has. Decoder and Encoder share it.
type Format struct {
	Protocol    int
	VarintFlags bool // flags are varints (compatibility flag of rsync 3.2)
	SafeList    bool // the end of the list may carry an I/O error
	ID0Names    bool // lists of ids end with the name of id 0

	Links      bool // -l: targets of symbolic links
	HardLinks  bool // -H
	Owner      bool // -o
	Group      bool // -g
	Devices    bool // -D, --devices
	Specials   bool // -D, --specials
	NumericIDs bool // --numeric-ids: no lists of ids
	Checksum   int  // -c: bytes of each checksum, else 0
}

// Flags of an entry on the wire. Some bits mean different things in different
// protocols and for different types.
const (
	xTopDir       = 1 << 0
	xSameMode     = 1 << 1
	xSameRdevOld  = 1 << 2 // before protocol 28
	xExtended     = 1 << 2 // since: a second byte of flags follows
	xSameUID      = 1 << 3
	xSameGID      = 1 << 4
	xSameName     = 1 << 5
	xLongName     = 1 << 6
	xSameTime     = 1 << 7
	xSameMajor    = 1 << 8 // devices
	xNoContent    = 1 << 8 // directories, since 30
	xHardLink     = 1 << 9
	xSameDev      = 1 << 10 // hard links in 28 and 29
	xUserName     = 1 << 10 // since 30, incremental recursion only
	xMinor8       = 1 << 11 // devices in 28 and 29
	xGroupName    = 1 << 11 // since 30, incremental recursion only
	xHardFirst    = 1 << 12 // since 30
	xEndWithError = 1 << 12 // on its own with xExtended
	xNsec         = 1 << 13 // since 31
)

// hasRdev tells whether an entry of this mode carries a device number.
func (f *Format) hasRdev(mode uint32) bool {
	switch mode & ModeType {
	case ModeBlock, ModeChar:
		return f.Devices
	case ModeFIFO, ModeSocket:
		return f.Specials && f.Protocol < 31
	}
	return false
}

// hasChecksum tells whether an entry of this mode carries a checksum; before
// protocol 28 all did.
func (f *Format) hasChecksum(mode uint32) bool {
	return f.Checksum > 0 && (mode&ModeType == ModeRegular || f.Protocol < 28)
}
