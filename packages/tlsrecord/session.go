// Package tlsrecord carries a TLS connection on after its handshake.
//
// crypto/tls makes the handshake, through a Tap that learns the keys by the key
// log hook and sees every record that passes. Take then turns the connection into
// a Session: two small halves that open and seal records in buffers of the
// caller's, without a goroutine and without memory of their own. The sending half
// can be given to the kernel instead (package ktls), see
// Session.Offload.
//
// Promise: a Session continues exactly where crypto/tls stopped, or there is
// none. How many records were sent under the new keys (Finished in TLS 1.2,
// session tickets in TLS 1.3) is not assumed but found by opening the last record
// that crypto/tls wrote; what cannot be explained is an error, and the caller goes
// on with crypto/tls. A session that is resumed in TLS 1.2 brings its secret along in
// the ticket, where the Tap has put it. TLS 1.3 and 1.2 with AES-GCM and
// ChaCha20-Poly1305; no renegotiation, no KeyUpdate, no early data. Whatever is not
// application data ends the connection: an alert is ErrClosed, anything else
// ErrSurprise, after which nothing more can be read; what came before it is still
// good. A half is used up long before AES-GCM's limit of records for a key: see
// Session.Worn.
package tlsrecord

import (
	"errors"
	"fmt"
	"slices"

	"micromirror/packages/ktls"
)

// Errors of Opener.Next.
var (
	ErrClosed   = errors.New("closed by an alert")
	ErrSurprise = errors.New("not application data")
	ErrBroken   = errors.New("record not authentic")
)

// Record content types.
const (
	TypeCipherSpec  = 20
	TypeAlert       = 21
	TypeHandshake   = 22
	TypeApplication = 23
)

// MaxPlain is the most that one record carries.
const MaxPlain = 16 << 10

// MaxRecord bounds a record with all around it, in either version.
const MaxRecord = headerSize + MaxPlain + 256

const headerSize = 5

// Session is an established connection without its socket.
type Session struct {
	Version uint16 // tls.VersionTLS13 or tls.VersionTLS12
	In      Opener
	// Out seals what is sent; nil when the kernel does that.
	Out *Sealer
	// Rest is what was read from the socket and not opened yet.
	Rest []byte
	sent uint64
}

// maxRecords is where a connection is to end: a sixth of what AES-GCM allows.
const maxRecords = 1 << 22

// Count notes that n bytes are sent with one call.
func (s *Session) Count(n int) { s.sent += uint64(n)/MaxPlain + 1 }

// Offload gives the sending side to the kernel if it takes it; otherwise nothing
// changes. Nothing must be on its way in user space.
func (s *Session) Offload(fd int) error {
	if suites[s.Out.half.Suite].chacha {
		return ktls.ErrCipher
	}
	if err := ktls.Transmit(fd, s.Out.half.kernel()); err != nil {
		return err
	}
	s.Out = nil
	return nil
}

// Worn says that the connection has sent so much that it is to end with the
// response under way: 64 GiB at least unless records are small.
func (s *Session) Worn() bool { return s.sent >= maxRecords }

// VersionName is how logs call the version.
func (s *Session) VersionName() string {
	if s.Version == version13 {
		return "1.3"
	}
	return "1.2"
}

// CloseNotify is the body of the alert that ends a connection in order.
func CloseNotify() []byte { return []byte{1, 0} }

// Take turns a connection whose handshake has succeeded into a session. The tap
// and crypto/tls's connection are not used any more afterwards, but for an error:
// then crypto/tls can go on.
func (t *Tap) Take(version, suite uint16) (*Session, error) {
	in, out, err := t.halves(version, suite)
	if err != nil {
		return nil, fmt.Errorf("take over connection: %w", err)
	}
	opener, err := in.opener()
	if err != nil {
		return nil, fmt.Errorf("take over connection: %w", err)
	}
	sealer, err := out.sealer()
	if err != nil {
		return nil, fmt.Errorf("take over connection: %w", err)
	}
	return &Session{Version: version, In: *opener, Out: sealer, Rest: slices.Clone(t.rest)}, nil
}

// halves derives both directions and finds where they are.
func (t *Tap) halves(version, suite uint16) (in, out Half, err error) {
	s, ok := suites[suite]
	if !ok {
		return in, out, fmt.Errorf("cipher suite %#x is not known", suite)
	}
	switch version {
	case version13:
		if in, err = s.half13(suite, t.secrets["CLIENT_TRAFFIC_SECRET_0"]); err != nil {
			return in, out, err
		}
		if out, err = s.half13(suite, t.secrets["SERVER_TRAFFIC_SECRET_0"]); err != nil {
			return in, out, err
		}
		handshake, err := s.half13(suite, t.secrets["SERVER_HANDSHAKE_TRAFFIC_SECRET"])
		if err != nil {
			return in, out, err
		}
		out.Seq, err = t.sent13(out, handshake)
		return in, out, err
	case version12:
		in, out, err = s.halves12(suite, t.master(), t.serverRandom, t.helloRandom())
		if err != nil {
			return in, out, err
		}
		in.Seq = 1 // the client's Finished
		out.Seq, err = t.sent12(out)
		return in, out, err
	}
	return in, out, fmt.Errorf("version %#x is not known", version)
}

// most is how many records of one kind are looked for.
const most = 8

// sent13 finds how many records were sent under the new key: the last one is a
// session ticket, or else the Finished under the handshake's key.
func (t *Tap) sent13(out, handshake Half) (uint64, error) {
	if n, ok := t.findLast(out); ok {
		return n + 1, nil
	}
	if _, ok := t.findLast(handshake); ok {
		return 0, nil
	}
	return 0, errors.New("cannot tell how many records were sent")
}

// sent12 makes sure that the last record is the server's Finished, the first one
// under the key.
func (t *Tap) sent12(out Half) (uint64, error) {
	if n, ok := t.findLast(out); !ok || n != 0 {
		return 0, errors.New("the last record sent is not Finished")
	}
	return 1, nil
}

// findLast finds the sequence number under which the last record written opens.
func (t *Tap) findLast(h Half) (uint64, bool) {
	for h.Seq = range uint64(most) {
		o, err := h.opener()
		if err != nil {
			return 0, false
		}
		if _, _, n, err := o.next(slices.Clone(t.last)); err == nil && n == len(t.last) {
			return h.Seq, true
		}
	}
	return 0, false
}
