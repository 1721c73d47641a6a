package daemon

import (
	"math"
	"strings"
)

// Options that do not concern a sender: without and with an argument. One would:
// delete-missing-args makes rsync's sender name what is missing, so that it is
// deleted. Here what is missing is an error as without the option, and stays.
const (
	quietFlags = `backup update keep-dirlinks:K prune-empty-dirs:m omit-dir-times:O omit-link-times:J
 whole-file:W executability:E ignore-times:I one-file-system:x sparse:S verbose:v quiet:q human-readable:h
 fuzzy:y force delete delete-before delete-during del delete-delay delete-after size-only stats
 super fake-super partial progress delay-updates safe-links munge-links use-qsort qsort existing
 ignore-non-existing ignore-existing fsync inc-recursive i-r implied-dirs i-d preallocate open-noatime mkpath
 itemize-changes:i delete-missing-args msgs2stderr motd 8-bit-output:8 ipv4:4 ipv6:6 old-args trust-sender blocking-io
 old-dirs old-d`
	quietArgs = `block-size:B backup-dir suffix skip-compress max-alloc max-delete min-size max-size
 modify-window:@ partial-dir compare-dest copy-dest link-dest usermap groupmap chown temp-dir:T info debug stderr
 log-format out-format contimeout stop-after stop-at time-limit compress-threads zt
 outbuf port address sockopts protocol chmod rsync-path only-write-batch`
)

// refusedAlways are options that a mirror's daemon cannot honour: without and
// with an argument.
const (
	refusedFlags = `acls:A xattrs:X atimes:U crtimes:N copy-devices write-devices insecure-links cvs-exclude:C`
	refusedArgs  = `iconv log-file log-file-format exclude-from include-from read-batch write-batch early-input copy-as
 confine-root password-file remote-option:M`
)

// table says what each option does to o.
func (o *options) table() map[string]*option {
	t := map[string]*option{
		"server": {flag: &o.server}, "sender": {flag: &o.sender}, "rsh": {short: 'e', value: o.setInfo},
		"recursive": {short: 'r', flag: &o.recurse}, "dirs": {short: 'd', flag: &o.dirs},
		"relative": {short: 'R', flag: &o.relative}, "links": {short: 'l', flag: &o.links},
		"hard-links": {short: 'H', flag: &o.hardLinks}, "copy-links": {short: 'L', flag: &o.copyLinks},
		"copy-unsafe-links": {flag: &o.copyUnsafe}, "copy-dirlinks": {short: 'k', flag: &o.copyDirLinks},
		"owner": {short: 'o', flag: &o.owner}, "group": {short: 'g', flag: &o.group},
		"devices": {flag: &o.devices}, "specials": {flag: &o.specials}, "D": {short: 'D', act: o.setDevices},
		"perms": {short: 'p', flag: &o.perms}, "times": {short: 't', flag: &o.times},
		"archive": {short: 'a', act: o.setArchive}, "checksum": {short: 'c', flag: &o.checksum},
		"dry-run": {short: 'n', flag: &o.dryRun}, "inplace": {flag: &o.inplace},
		"numeric-ids": {flag: &o.numericIDs}, "ignore-errors": {flag: &o.ignoreErrors},
		"ignore-missing-args": {flag: &o.ignoreMissing},
		"delete-excluded":     {flag: &o.deleteExcluded}, "secluded-args": {short: 's', flag: &o.secluded},
		"protect-args": {flag: &o.secluded}, "list-only": {flag: &o.listOnly},
		"remove-source-files": {flag: &o.removeSource}, "remove-sent-files": {flag: &o.removeSource},
		"from0": {short: '0', flag: &o.fromNul}, "files-from": {value: o.setFilesFrom},
		"append": {act: o.addAppend}, "append-verify": {act: o.setVerify}, "timeout": {value: number(&o.timeout, 0, math.MaxInt32)},
		"bwlimit":         {value: o.setBandwidth},
		"checksum-seed":   {value: number(&o.seed, math.MinInt32, math.MaxInt32)},
		"checksum-choice": {value: o.setChecksum}, "cc": {value: o.setChecksum},
		"filter": {short: 'f', value: o.filter.Add}, "exclude": {value: o.filter.Exclude},
		"include":  {value: o.filter.Include},
		"compress": {short: 'z', act: refuseCompress}, "new-compress": {act: refuseCompress},
		"old-compress": {act: refuseCompress}, "compress-level": {value: refuseLevel}, "zl": {value: refuseLevel}, "compress-choice": {value: o.setCompress}, "zc": {value: o.setCompress},
		"daemon": {act: hack}, "config": {value: hackValue}, "dparam": {value: hackValue}, "detach": {act: hack},
	}
	o.addQuiet(t)
	for name, short := range names(refusedFlags) {
		t[name] = &option{short: short, act: func() error { return refused(name, short) }}
	}
	for name, short := range names(refusedArgs) {
		t[name] = &option{short: short, value: func(string) error { return refused(name, short) }}
	}
	return t
}

func (o *options) addQuiet(t map[string]*option) {
	for name, short := range names(quietFlags) {
		t[name] = &option{short: short, quiet: true}
	}
	for name, short := range names(quietArgs) {
		t[name] = &option{short: short, quiet: true, arg: true}
	}
	t["backup"].short, t["update"].short = 'b', 'u'
}

// names reads a list of "name" and "name:letter".
func names(list string) func(yield func(string, byte) bool) {
	return func(yield func(string, byte) bool) {
		for f := range strings.FieldsSeq(list) {
			name, letter, _ := strings.Cut(f, ":")
			short := byte(0)
			if letter != "" {
				short = letter[0]
			}
			if !yield(name, short) {
				return
			}
		}
	}
}

func (o *options) setInfo(v string) error {
	o.info = v
	return nil
}

func (o *options) setDevices() error {
	o.devices, o.specials = true, true
	return nil
}

func (o *options) setArchive() error {
	o.recurse, o.links, o.perms, o.times, o.group, o.owner = true, true, true, true, true, true
	return o.setDevices()
}

func (o *options) addAppend() error {
	o.appends++
	return nil
}

func (o *options) setVerify() error {
	o.appends = 2
	return nil
}

func (o *options) setChecksum(v string) error {
	o.checksumChoice = v
	return nil
}

// setFilesFrom takes a list of names from the connection, but from no file here.
func (o *options) setFilesFrom(v string) error {
	if v != "-" {
		return refused("files-from", 0)
	}
	o.filesFrom = true
	return nil
}

func (o *options) setCompress(v string) error {
	if v == "none" {
		return nil
	}
	return refuseCompress()
}

func refuseCompress() error { return refused("compress", 'z') }

// refuseLevel refuses what a client sends only if it compresses.
func refuseLevel(string) error { return refuseCompress() }

func hack() error { return optionError("Attempt to hack rsync thwarted!") }

func hackValue(string) error { return hack() }
