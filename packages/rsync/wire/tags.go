package wire

// Tag names the kind of a multiplexed frame.
type Tag uint8

// The tags that a receiver or a sender can meet. MaxMessage bounds what may
// follow any of them but Data.
const (
	Data      Tag = 0   // bytes of the stream proper
	ErrorXfer Tag = 1   // text: a file could not be transferred
	Info      Tag = 2   // text
	Error     Tag = 3   // text: something is wrong with the run itself
	Warning   Tag = 4   // text
	ErrorSock Tag = 5   // text
	Log       Tag = 6   // text for a daemon's log
	ErrorUTF8 Tag = 8   // text
	Redo      Tag = 9   // int32: file index to be sent once more
	Stats     Tag = 10  // int64
	IOError   Tag = 22  // int32: bits of IOErr… of the sender
	IOTimeout Tag = 33  // int32: the daemon's timeout in seconds
	Noop      Tag = 42  // keep-alive of protocol 30
	ErrorExit Tag = 86  // int32 or nothing: the other side is about to exit
	Success   Tag = 100 // int32: file index received
	Deleted   Tag = 101 // name
	NoSend    Tag = 102 // int32: file index that could not be sent
)

// MaxMessage is the longest message taken from a peer; rsync itself stops at
// about 5,000 bytes.
const MaxMessage = 64 << 10

// Bits of the I/O error value that a sender reports.
const (
	IOErrGeneral  = 1 << 0 // something could not be read: the list may be incomplete
	IOErrVanished = 1 << 1 // a file disappeared between list and transfer
	IOErrDelLimit = 1 << 2
	IOErrMask     = IOErrGeneral | IOErrVanished | IOErrDelLimit
)

// File indexes with a meaning of their own.
const (
	NdxDone     = -1
	NdxFlistEOF = -2
	NdxDelStats = -3
)

// Bits of the flags that follow a file index since protocol 29.
const (
	ItemReportAtime      = 1 << 0
	ItemReportChange     = 1 << 1
	ItemReportSize       = 1 << 2
	ItemReportTime       = 1 << 3
	ItemReportPerms      = 1 << 4
	ItemBasisTypeFollows = 1 << 11
	ItemXnameFollows     = 1 << 12
	ItemIsNew            = 1 << 13
	ItemLocalChange      = 1 << 14
	ItemTransfer         = 1 << 15
)

// Bits of the compatibility flags that a server sends since protocol 30.
const (
	CompatIncRecurse       = 1 << 0
	CompatSymlinkTimes     = 1 << 1
	CompatSymlinkIconv     = 1 << 2
	CompatSafeFlist        = 1 << 3
	CompatAvoidXattrOptim  = 1 << 4
	CompatChecksumSeedFix  = 1 << 5
	CompatInplacePartial   = 1 << 6
	CompatVarintFlistFlags = 1 << 7
	CompatID0Names         = 1 << 8
)

// The protocols spoken.
const (
	MinProtocol = 27
	MaxProtocol = 32
)

// muxBase is added to the tag on the wire.
const muxBase = 7

// maxFrame is the longest frame that a header can describe.
const maxFrame = 1<<24 - 1
