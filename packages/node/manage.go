package node

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// DefaultManagePort is where the maintainers' channel listens.
const DefaultManagePort = 22

// On says whether the channel is to be opened.
func (m *Manage) On() bool { return len(m.Keys) > 0 }

// manage checks the maintainers' channel. The port is filled in.
func (d *decoder) manage(f *Fleet) {
	const remedy = `write the line of a .pub file that "ssh-keygen -t ed25519" makes, without options before it`
	m := &f.Manage
	m.Keys = d.strings("manage.keys", m.Keys, isPublicKey, "is not a public key that is taken", remedy)
	m.Port = d.between("manage.port", m.Port, 1, 65535, "leave it out for 22")
	if slices.Contains([]int{80, 443, 873}, m.Port) {
		d.bad("manage.port", fmt.Sprint(m.Port), "is served to everybody", "leave it out for 22")
		m.Port = 0
	}
	if m.Port == 0 {
		m.Port = DefaultManagePort
	}
	if m.On() && len(f.Firewall.Allow) == 0 {
		d.bad("manage.keys", "", "can be used from nowhere", "list in firewall.allow the prefixes that maintainers come from, or remove the keys")
		m.Keys = nil
	}
}

// keySizes are the kinds of public keys that are taken, with the length of what
// follows the kind in bytes; 0 is not fixed.
func keySizes() map[string]int {
	return map[string]int{
		"ssh-ed25519":                4 + 32,
		"ecdsa-sha2-nistp256":        4 + 8 + 4 + 65,
		"ecdsa-sha2-nistp384":        4 + 8 + 4 + 97,
		"ecdsa-sha2-nistp521":        4 + 8 + 4 + 133,
		"sk-ssh-ed25519@openssh.com": 0, // ends with the name of an application
	}
}

// isPublicKey accepts a line of authorized_keys: kind, key in base64, comment. It
// looks at the form only, so that not every daemon carries the cryptography.
func isPublicKey(s string) bool {
	words := strings.Fields(s)
	if len(words) < 2 || !isText(strings.Join(words[2:], " ")) || strings.ContainsAny(s, "\n\r") {
		return false
	}
	size, known := keySizes()[words[0]]
	key, err := base64.StdEncoding.DecodeString(words[1])
	if !known || err != nil {
		return false
	}
	kind := append(binary.BigEndian.AppendUint32(nil, uint32(len(words[0]))), words[0]...)
	rest, ok := bytes.CutPrefix(key, kind)
	return ok && len(rest) > 0 && (size == 0 || len(rest) == size)
}
