// Package flist holds rsync file lists: what a list is (List, File), and how it
// travels (Decoder, Encoder) in protocols 27 to 32.
//
// A List is immutable once finished and safe for concurrent use. It is compact:
// 48 bytes per entry and the bytes of names and link targets, without pointers.
// Its order is that of a depth-first walk: each directory, its files by name,
// its subdirectories by name. Protocols since 29 number files in just that
// order; Wire and FromWire translate for the older ones, which sort by the
// bytes of the whole path.
//
// A list from the network is checked before it is handed out: names are
// relative, clean and free of "..", no file is also used as a directory, counts
// and sizes are within Limits. A name that occurs twice is kept once, as rsync
// does (a directory wins over a file, else the first), and the others keep
// their index but are not Active.
//
// Facts about the protocol (rsync's flist.c, hlink.c, uidlist.c): an entry is
// flags, name with the prefix it shares with the one before left out, size,
// time, mode, and what the options ask for. It says nothing of what equals the
// entry before. Hard links are device and inode before protocol 30, since then
// the position of the first of them in sending order.
package flist
