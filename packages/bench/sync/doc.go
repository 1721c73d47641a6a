// Package sync measures the rsync engine against rsync itself: same data, same
// peer, loopback, runs of both taking turns, medians of wall time, CPU time and
// peak memory of the client, or of the daemon.
//
// Scenarios: (a) large files, (b) many small files, (c) a large tree in which
// nothing has changed, (d) a large file of which one per cent has changed, (e)
// many hard links, for daemons also (f) many clients that list (c) at once. Data
// is made below a directory of the caller's choice and kept there for the next
// run; sizes can be scaled down for a quick look. Each finished scenario is kept
// at once: a run that is killed goes on behind it.
package sync
