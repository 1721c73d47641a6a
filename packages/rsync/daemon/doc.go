// Package daemon is a read-only rsync daemon: it offers directories as modules
// to any rsync client of protocols 27 to 32.
//
// Promise: clients and scanners get what rsync 3.5.0's own daemon would give
// them for the same tree (shown by tests against the real client), but nothing
// that not everybody may read, nothing that a module's excludes name, and
// nothing outside a module's directory. A module's list is read once per
// generation of its tree and shared by all connections.
//
// Options that concern a sender are honoured, also --bwlimit, which rsync leaves
// to the sender. Those that concern only a receiver are accepted and ignored;
// --max-size and --min-size are among them, for the receiver applies them. What
// a mirror does not offer is refused in rsync's words: pushing; compression,
// which its files do not need; ACLs, extended attributes and access times, which
// it does not keep; rules that name files to be read here (-F, -C, dir-merge);
// sums other than xxh128, xxh3, xxh64, MD5 and MD4; and whatever Config.Refuse
// names, usually --checksum, which would read the whole tree.
//
// Limits: connections in all, per network and per module; addresses allowed and
// denied; an absolute time for the handshake, one for rules and names, and one
// without data after them; lengths and counts of everything that a client sends.
// A connection holds about 150 KiB, 256 KiB while it gets a file, and up to 256
// KiB for what it describes; what is beyond comes out of Config.Memory, which
// all connections share. A client that reads or asks slowly keeps its connection
// as long as each Timeout brings some data, as with rsync: what bounds such
// clients is their number per network. Failures end the connection only, with
// one line in the log.
//
// Files owned: none. Port: 873, by the listeners that Serve is given.
//
// Protocol facts (rsync's clientserver.c, compat.c, options.c): both sides greet
// with "@RSYNCD: PROTOCOL.SUB DIGESTS"; the client names a module or asks for
// the list; after "@RSYNCD: OK" it sends its arguments, a line each before
// protocol 30 and with NULs since, and an empty one. Then the server sends
// compatibility flags and its list of checksums (30 and later) and the seed, its
// stream becomes multiplexed, since protocol 30 the client's too, and the
// client sends its filter rules.
package daemon
