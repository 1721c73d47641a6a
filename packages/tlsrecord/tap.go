package tlsrecord

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"net"
	"slices"
)

// Tap stands between crypto/tls and the socket while a server's handshake lasts.
// It hands over one record at a time, so that nothing that belongs to the session
// disappears in crypto/tls's buffer.
type Tap struct {
	net.Conn
	rest         []byte // read from the socket, not passed on yet
	left         int    // how much of the record being passed on is missing
	last         []byte // the last record written
	partial      []byte // the beginning of the one being written
	first        []byte // the beginning of what was passed on
	secrets      map[string][]byte
	resumed      []byte // the master secret in the ticket that the client showed
	serverRandom []byte
}

// NewTap makes a tap for a connection.
func NewTap(conn net.Conn) *Tap { return &Tap{Conn: conn} }

// Config returns a configuration for this connection alone. Sessions are resumed
// if base has ticket keys of its own: those that crypto/tls makes by itself are
// the copy's.
func (t *Tap) Config(base *tls.Config) *tls.Config {
	c := base.Clone()
	t.secrets = map[string][]byte{}
	c.KeyLogWriter = (*keyLog)(t)
	c.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		if master := t.master(); master != nil {
			session.Extra = append(session.Extra, slices.Concat([]byte(masterLabel), master))
		}
		return c.EncryptTicket(state, session)
	}
	c.UnwrapSession = func(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		session, err := c.DecryptTicket(ticket, state)
		if session != nil {
			t.resumed = masterIn(session.Extra)
		}
		return session, err
	}
	return c
}

// masterLabel marks what is ours in a ticket. The key log does not tell the master
// secret of a session that is resumed in TLS 1.2, so it travels in the ticket once
// more, as secret as the one that crypto/tls puts there.
const masterLabel = "micromirror master "

func masterIn(extra [][]byte) []byte {
	for _, e := range extra {
		if master, ok := bytes.CutPrefix(e, []byte(masterLabel)); ok {
			return master
		}
	}
	return nil
}

// master is the master secret of TLS 1.2: a fresh one, or that of the ticket.
func (t *Tap) master() []byte {
	if fresh := t.secrets["CLIENT_RANDOM"]; fresh != nil {
		return fresh
	}
	return t.resumed
}

// readSize is what is read from the socket at a time.
const readSize = 2 << 10

// maxHello is how much of a hello is waited for. Real ones are shorter; what is
// longer does not fill the memory of somebody who only waits.
const maxHello = 4 << 10

// Hello waits for the first record and returns what has been read; it is whole
// unless its first byte shows that it is not TLS, or it is unusually long. Nothing
// has been passed on.
func (t *Tap) Hello() ([]byte, error) {
	for len(t.rest) < headerSize || len(t.rest) < min(recordLength(t.rest), maxHello) {
		if len(t.rest) > 0 && t.rest[0] != TypeHandshake {
			break
		}
		if err := t.fill(); err != nil {
			return t.rest, err
		}
	}
	return t.rest, nil
}

// fill reads what there is.
func (t *Tap) fill() error {
	t.rest = slices.Grow(t.rest, readSize)
	n, err := t.Conn.Read(t.rest[len(t.rest) : len(t.rest)+readSize])
	t.rest = t.rest[:len(t.rest)+n]
	return err
}

func (t *Tap) Read(p []byte) (int, error) {
	for t.left == 0 && len(t.rest) < headerSize || len(t.rest) == 0 {
		if err := t.fill(); err != nil {
			return 0, err
		}
	}
	if t.left == 0 {
		t.left = recordLength(t.rest)
	}
	n := copy(p, t.rest[:min(len(t.rest), t.left)])
	t.rest = t.rest[n:]
	t.left -= n
	if missing := randomAt + randomLength - len(t.first); missing > 0 {
		t.first = append(t.first, p[:min(n, missing)]...)
	}
	return n, nil
}

// recordLength is the length that a header names, the header included.
func recordLength(b []byte) int { return headerSize + int(binary.BigEndian.Uint16(b[3:])) }

func (t *Tap) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	t.partial = append(t.partial, p[:n]...)
	for len(t.partial) >= headerSize && len(t.partial) >= recordLength(t.partial) {
		size := recordLength(t.partial)
		t.last = append(t.last[:0], t.partial[:size]...)
		t.partial = t.partial[size:]
		t.readServerHello()
	}
	return n, err
}

// Where a hello has its random value: behind the headers of record and
// message, and the version.
const (
	randomAt     = headerSize + 4 + 2
	randomLength = 32
)

func (t *Tap) readServerHello() {
	const serverHello = 2
	if t.serverRandom == nil && len(t.last) >= randomAt+randomLength && t.last[0] == TypeHandshake && t.last[headerSize] == serverHello {
		t.serverRandom = bytes.Clone(t.last[randomAt : randomAt+randomLength])
	}
}

// helloRandom is the client's random value, unless its hello is in pieces.
func (t *Tap) helloRandom() []byte {
	const clientHello = 1
	if len(t.first) < randomAt+randomLength || recordLength(t.first) < len(t.first) || t.first[0] != TypeHandshake || t.first[headerSize] != clientHello {
		return nil
	}
	return t.first[randomAt:]
}

// keyLog takes lines in the format of NSS's key log: label, client random, secret.
type keyLog Tap

func (k *keyLog) Write(line []byte) (int, error) {
	f := bytes.Fields(line)
	if len(f) != 3 {
		return len(line), nil // Take will miss it
	}
	secret, err := hex.DecodeString(string(f[2]))
	if err != nil {
		return 0, err
	}
	k.secrets[string(f[0])] = secret
	return len(line), nil
}
