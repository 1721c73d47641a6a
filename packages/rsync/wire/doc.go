// Package wire speaks rsync's byte stream: its integer encodings, strings and
// index compression, and the multiplexing of messages into the data.
//
// A Reader and a Writer are independent of each other, so that a receiver can
// request on one goroutine and read answers on another. Both keep their first
// error: after it, reads give zeros and writes do nothing, and Err tells why.
// Callers therefore check Err once per record instead of once per field, and
// every loop that waits for a value other than zero checks it too.
//
// Facts about the protocol (from rsync's own sources io.c and rsync.h, and
// csprotocol.txt in the same repository):
//
//   - integers are little endian; "longint" is an int32, or -1 followed by an
//     int64; protocol 30 added "varint" and "varlong", whose first byte says by
//     its leading ones how many more bytes follow;
//   - a vstring is a length of one byte, or of two (big endian, high bit set),
//     and its bytes;
//   - a multiplexed stream is made of frames: a little endian uint32 holding
//     7+tag in its top byte and the length in the rest. Tag 0 is data;
//   - since protocol 30 file indexes are sent as differences to the previous
//     positive or negative index, 0 meaning "done" (-1).
//
// Nothing read here allocates by a number from the peer without a bound given
// by the caller. Conn gives every single read and write a deadline.
package wire
