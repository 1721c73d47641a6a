// Package sync measures the rsync engine against rsync itself: same data, same
// daemon, loopback, runs of both taking turns, medians of wall time, CPU time
// and peak memory of the client.
//
// Scenarios: (a) large files, (b) many small files, (c) a large tree in which
// nothing has changed, (d) a large file of which one per cent has changed, (e)
// many hard links. Data is made below a directory of the caller's choice and
// kept there for the next run; sizes can be scaled down for a quick look.
package sync
