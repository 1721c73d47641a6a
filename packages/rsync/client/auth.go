package client

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"strings"

	"golang.org/x/crypto/md4" //lint:ignore SA1019 the protocol demands it
)

// login answers a challenge.
func (c *Conn) login(challenge, digests string) error {
	if c.cfg.User == "" {
		return fmt.Errorf("module asks for a login, and no user is configured: %w", ErrRefused)
	}
	response, err := authResponse(c.cfg.Password, challenge, digests, c.Protocol)
	if err != nil {
		return err
	}
	c.out.String(c.cfg.User + " " + response + "\n")
	return c.out.Flush()
}

// authResponse is the digest of password and challenge in base64 without
// padding. A server that names no digests means MD5 since protocol 30, before
// it MD4 with four zero bytes in front.
func authResponse(password, challenge, digests string, protocol int) (string, error) {
	var h hash.Hash
	switch {
	case digests != "":
		if h = chooseDigest(digests); h == nil {
			return "", fmt.Errorf("server asks for a digest of %.100q: %w", digests, ErrProtocol)
		}
	case protocol >= 30:
		h = md5.New()
	default:
		h = md4.New()
		h.Write(make([]byte, 4))
	}
	h.Write([]byte(password))
	h.Write([]byte(challenge))
	return base64.RawStdEncoding.EncodeToString(h.Sum(nil)), nil
}

func chooseDigest(theirs string) hash.Hash {
	makers := map[string]func() hash.Hash{
		"sha512": sha512.New, "sha256": sha256.New, "sha1": sha1.New, "md5": md5.New, "md4": md4.New,
	}
	for name := range strings.FieldsSeq(authNames) {
		for other := range strings.FieldsSeq(theirs) {
			if other == name {
				return makers[name]()
			}
		}
	}
	return nil
}
