// Package client pulls from an rsync daemon.
//
// A pull has three steps on one connection. Dial logs in to a module. List
// fetches the list of files and leaves the connection open. The caller plans:
// it compares the list with what it has. Transfer then fetches exactly the
// files that the caller names, each into a place below a directory of the
// caller's choice, using an older version as basis for a delta where there is
// one. Directories, links, permissions of anything but the fetched files, and
// deletions are the caller's business: all it needs is in the list.
//
// Promise: a file that Transfer reports as done has the size in the list, the
// content whose checksum the sender computed, and the mode and time of the
// list. A file that was interrupted stays where it is, without that time, and
// is continued by the next Transfer to the same place. A file whose checksum
// does not match is fetched a second time, whole. Files that the sender cannot
// open, that vanish or that change do not end the run, they are in
// Result.Failed. Devices, sockets and pipes are never created.
//
// Failure: cancelling the context closes the connection at once; a peer that
// is silent for Config.Timeout, or sends nothing but signs of life for six times
// as long, is given up. The peer is not trusted: counts,
// lengths and sizes are bounded (package flist for the list; here a file may
// not be longer than announced), messages and motd are kept up to a limit, and
// only files that were asked for are accepted.
//
// Protocols 27 to 32. Facts about the dialogue (rsync's clientserver.c,
// compat.c, generator.c, receiver.c, sender.c, csprotocol.txt):
//
//   - greeting "@RSYNCD: <protocol>.<sub> <digests>", module name, then lines
//     of motd until "@RSYNCD: OK", "@RSYNCD: AUTHREQD <challenge>" or "@ERROR…";
//   - arguments end with NUL since protocol 30, with newline before;
//   - since 30 the server sends compatibility flags, and if they say so both
//     sides name their checksums; then comes the seed; from there on the
//     server's stream is multiplexed, since 30 the client's too;
//   - filter rules, then the file list;
//   - a request is index, flags (since 29) and the sums of the basis; the
//     answer repeats them and goes on with literal data and block numbers, then
//     the sum of the file. "Done" ends a phase: files, files to be repeated,
//     and since 29 delayed updates; statistics follow, and a last goodbye.
//
// Incremental recursion is not asked for: the caller plans with the whole list.
//
// Not there: pushing, remote shells, compression (mirrors' files are compressed
// already), ACLs, extended attributes, owners and groups; in protocols below 30
// times before 1970 and after 2106, which have no place in 32 bits.
package client
