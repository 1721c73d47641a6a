// Package sender is the sending half of rsync: it reads a directory tree once,
// and serves any number of clients from that copy and from the files.
//
// Promise: what a client gets equals what rsync 3.5.0 sends for the same tree
// and options: names, modes, times, hard links, links, and file content as
// whole or as differences to what the client has. Nothing outside the tree's
// root is opened, whatever links the tree holds and however it changes; what
// Scan left out is not sent. One Tree is shared by all connections; a
// connection that asks for a whole directory adds some bytes to it, one with
// rules adds 24 bytes for each gap.
//
// A client's numbers are checked before memory is taken for them (maxBlocks,
// maxStrong), what all clients take together is bounded (Memory: without room
// for sums a file is sent whole, without room for a selection the request
// fails), work in vain is bounded (hopeless, maxChain, effort), and a connection
// that fails ends with an error, not a panic. Files that vanish or cannot be
// read are reported to the client and do not end the transfer.
//
// What differs from rsync's sender: no incremental recursion, so a client hears
// of read errors before it deletes; owners are all 0; devices, pipes and sockets
// are not listed; a missing name is never sent for --delete-missing-args.
//
// Protocol facts (rsync's main.c, sender.c, match.c, token.c, rsync.c): after
// the list the client requests files by index, with flags since protocol 29 and
// the sums of its old version's blocks; the answer repeats index, flags and
// head, then come tokens (a positive length and data, a negative number -i-1
// for block i, 0 at the end) and the sum of the file. "Done" is exchanged once a
// phase, twice before protocol 29 and three times since; then statistics and a
// farewell.
package sender
