// Package rsync is the engine under the sync client and the public daemon. It
// consists of packages and has no code itself:
//
//	wire      the byte stream: integers, indexes, multiplexing
//	checksum  weak, block and file sums, and their negotiation
//	flist     file lists and how they travel
//	delta     signatures of basis files
//	filter    the pattern language
//	client    pulls from a daemon: list, plan, transfer
//	sender    what sends lists and files
//	daemon    the read-only public daemon
//
// What other implementations do not have and this one is for: list and transfer
// are separate steps, between which the caller plans; one list serves all of a
// daemon's connections; nothing that a peer sends ends the process or takes more
// memory than was set aside. What it costs compared with rsync is measured by
// packages/bench/sync.
//
// Protocols 27 (rsync 2.6.0, 2003) to 32 (rsync 3.4 and 3.5) are spoken; what
// they differ in is told where it matters. The facts come from rsync's own
// sources and its csprotocol.txt, and are held up by tests against rsync itself
// with each protocol forced.
package rsync
