package manage

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// HostKey derives the channel's host key from the node's own key, the content of
// node.KeyFile. The same key gives the same host key for ever.
func HostKey(nodeKey string) (ssh.Signer, error) {
	const prefix, purpose = "AGE-SECRET-KEY-1", "micromirror management channel, host key 1"
	nodeKey = strings.TrimSpace(nodeKey)
	if !strings.HasPrefix(nodeKey, prefix) || strings.ContainsAny(nodeKey, " \n\t") {
		return nil, errors.New("host key: the node's key is not one")
	}
	seed, err := hkdf.Key(sha256.New, []byte(nodeKey), nil, purpose, ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	return ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed))
}

// PublicKeys reads lines of authorized_keys.
func PublicKeys(lines []string) ([]ssh.PublicKey, error) {
	var out []ssh.PublicKey
	for i, line := range lines {
		key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil || len(options) > 0 || len(rest) > 0 {
			return nil, fmt.Errorf("fleet.json: manage.keys[%d]: %q is no public key; write one line of a .pub file", i, line)
		}
		out = append(out, key)
	}
	return out, nil
}
