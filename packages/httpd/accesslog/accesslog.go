// Package accesslog is the form of the access log: who fetched what, one line
// each, in the Combined Log Format that every log analyser reads, with a few
// fields more.
//
// goaccess reads it with
//
//	--log-format='%h %^ %^ [%d:%t %^] "%r" %s %b "%R" "%u" %^ %^ %^ %^ %T'
//	--date-format=%d/%b/%Y --time-format=%H:%M:%S
//
// The lines go to a package spool log, Name, of at most Files times FileSize.
package accesslog

// Where the access log is kept and what it may take of the disk: 128 MiB.
const (
	Name     = "access.log"
	FileSize = 16 << 20
	Files    = 8
)
