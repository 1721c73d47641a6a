package tlsrecord

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"

	"micromirror/packages/ktls"
)

const (
	version12 = tls.VersionTLS12
	version13 = tls.VersionTLS13
)

// suite is what a cipher suite means here.
type suite struct {
	key    int // length
	hash   func() hash.Hash
	chacha bool
}

// suites are the ones that a session can have. The table is never written.
var suites = map[uint16]suite{
	tls.TLS_AES_128_GCM_SHA256:                        {16, sha256.New, false},
	tls.TLS_AES_256_GCM_SHA384:                        {32, sha512.New384, false},
	tls.TLS_CHACHA20_POLY1305_SHA256:                  {32, sha256.New, true},
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:       {16, sha256.New, false},
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:         {16, sha256.New, false},
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:       {32, sha512.New384, false},
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:         {32, sha512.New384, false},
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: {32, sha256.New, true},
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:   {32, sha256.New, true},
}

// Half is the key material of one direction.
type Half struct {
	Version uint16
	Suite   uint16
	Key     []byte
	IV      []byte // 12 bytes; 4 for AES-GCM in TLS 1.2, whose records carry the rest
	Seq     uint64 // of the next record
}

// explicit says that records carry half of their nonce.
func (h *Half) explicit() bool { return len(h.IV) == 4 }

func (h *Half) aead() (cipher.AEAD, error) {
	if suites[h.Suite].chacha {
		return chacha20poly1305.New(h.Key)
	}
	block, err := aes.NewCipher(h.Key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// kernel is what the kernel is told of an AES-GCM half.
func (h *Half) kernel() ktls.Key {
	return ktls.Key{Version: h.Version, Key: h.Key, IV: h.IV, Seq: h.Seq}
}

// half13 derives key and nonce from a traffic secret (RFC 8446, section 7.3).
func (s suite) half13(id uint16, secret []byte) (Half, error) {
	if len(secret) != s.hash().Size() {
		return Half{}, errors.New("a traffic secret is missing")
	}
	key, err := s.expand(secret, "key", s.key)
	if err != nil {
		return Half{}, err
	}
	iv, err := s.expand(secret, "iv", 12)
	return Half{Version: version13, Suite: id, Key: key, IV: iv}, err
}

// expand is HKDF-Expand-Label with an empty context.
func (s suite) expand(secret []byte, label string, n int) ([]byte, error) {
	label = "tls13 " + label
	info := string([]byte{byte(n >> 8), byte(n), byte(len(label))}) + label + "\x00"
	out, err := hkdf.Expand(s.hash, secret, info, n)
	if err != nil {
		return nil, fmt.Errorf("derive %s: %w", label, err)
	}
	return out, nil
}

// halves12 derives both directions from the master secret (RFC 5246, section 6.3).
func (s suite) halves12(id uint16, master, server, client []byte) (in, out Half, err error) {
	if len(master) != 48 || len(server) != 32 || len(client) != 32 {
		return in, out, errors.New("the master secret or a random value is missing")
	}
	iv := 4
	if s.chacha {
		iv = 12
	}
	seed := append(append([]byte("key expansion"), server...), client...)
	block := expand12(s.hash, master, seed, 2*s.key+2*iv)
	cut := func(n int) []byte {
		part := block[:n:n]
		block = block[n:]
		return part
	}
	in = Half{Version: version12, Suite: id, Key: cut(s.key)}
	out = Half{Version: version12, Suite: id, Key: cut(s.key)}
	in.IV, out.IV = cut(iv), cut(iv)
	return in, out, nil
}

// expand12 is P_hash.
func expand12(h func() hash.Hash, secret, seed []byte, n int) []byte {
	sum := func(parts ...[]byte) []byte {
		m := hmac.New(h, secret)
		for _, p := range parts {
			m.Write(p)
		}
		return m.Sum(nil)
	}
	var out []byte
	for a := sum(seed); len(out) < n; a = sum(a) {
		out = append(out, sum(a, seed)...)
	}
	return out[:n]
}
