// Package layout names where a node keeps its files and which user owns them.
//
// It is the one place that knows the paths below /perm (durable, ext4) and /run
// (volatile, tmpfs), so that a daemon that writes a file and the daemon that
// reads it cannot disagree. It holds constants only; each daemon takes its
// directories as configuration and merely defaults to these.
package layout

// Durable directories, on the /perm partition.
const (
	Perm      = "/perm"
	NodeDir   = Perm + "/node"   // node.json and fleet.json
	MirrorDir = Perm + "/mirror" // the served tree, owner syncd
	StageDir  = Perm + "/stage"  // fetched, not yet published, owner syncd
	AcmeDir   = Perm + "/acme"   // account and certificate, owner acmed
	StateDir  = Perm + "/state"  // one folder a daemon
)

// Where the services' lines go: gokrazy's init sends them to the address that the
// file holds when it starts, and logd listens there.
const (
	LogAddress    = "127.0.0.1:514" // UDP
	LogTargetFile = "remote_syslog/target"
	LogTarget     = Perm + "/" + LogTargetFile
)

// Facts that the image carries.
const (
	HardwareDir = "/etc/micromirror/hardware" // hardware/*.json of the repository
	VersionFile = "/etc/micromirror/version.json"
)

// Volatile files.
const (
	RunDir     = "/run"
	HealthFile = RunDir + "/health.json"
	ESP        = RunDir + "/esp" // where updated mounts the EFI system partition
	// ManageDir is managed's; while it holds the file Drained, the node asks for
	// no users.
	ManageDir = RunDir + "/managed"
	Drained   = "drained"
)

// Numeric users of the daemons; the group has the same number. The image has no
// /etc/passwd entries for them: nothing on a node looks users up by name.
const (
	HTTPD    = 801
	RsyncD   = 802
	SyncD    = 803
	AcmeD    = 804
	ConsoleD = 805
	NTPD     = 806
	LogD     = 807
	ManageD  = 808
)
