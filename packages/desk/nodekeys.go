package desk

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"micromirror/packages/durable"
	"micromirror/packages/identity"
	"micromirror/packages/manage"
	"micromirror/packages/node"
	"micromirror/packages/repository"
)

// KnownHosts pins the nodes' host keys, in OpenSSH's form. The desk writes a
// node's line when it writes its disk.
func (f Fleet) KnownHosts() string { return filepath.Join(string(f), "known_hosts") }

// equip adds what a node needs to take updates and to be managed: the root
// metadata that it trusts, and a key of its own. A fleet without an update
// repository and without maintainers has neither.
func (f Fleet) equip(cfg *node.Config, set identity.Set) error {
	root, err := repository.At(string(f)).TrustedRoot()
	if err != nil && !errors.Is(err, repository.ErrNone) {
		return err
	}
	if err != nil && !cfg.Fleet.Manage.On() {
		return nil
	}
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return fmt.Errorf("make the node's key: %w", err)
	}
	if root != nil {
		set[node.RootFile] = root
	}
	set[node.KeyFile] = []byte(key.String() + "\n")
	return nil
}

// remember keeps in the fleet folder what is public of the node's key: what its
// secrets are encrypted to, and the host key that it will show.
func (f Fleet) remember(cfg *node.Config, set identity.Set) error {
	text, ok := set[node.KeyFile]
	if !ok {
		return nil
	}
	key, err := age.ParseX25519Identity(string(bytes.TrimSpace(text)))
	if err != nil {
		return fmt.Errorf("the node's key: %w", err)
	}
	if err := durable.WriteFile(f.PublicKeyFile(cfg.Node.Name), []byte(key.Recipient().String()+"\n"), 0o644); err != nil {
		return err
	}
	host, err := manage.HostKey(string(text))
	if err != nil {
		return err
	}
	return f.pin(channelName(cfg), host.PublicKey())
}

// channelName is what known_hosts calls a node: by its name alone, since the port
// may change and the key does not.
func channelName(cfg *node.Config) string { return cfg.Hostname() }

// channelAddress is where the node's channel is.
func channelAddress(cfg *node.Config) string {
	return net.JoinHostPort(cfg.Hostname(), strconv.Itoa(cfg.Fleet.Manage.Port))
}

// pin replaces the line of a node in known_hosts; lines of others stay.
func (f Fleet) pin(name string, key ssh.PublicKey) error {
	old, err := os.ReadFile(f.KnownHosts())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var b strings.Builder
	for line := range strings.Lines(string(old)) {
		if !strings.HasPrefix(line, name+" ") {
			b.WriteString(strings.TrimSuffix(line, "\n") + "\n")
		}
	}
	if key != nil {
		b.WriteString(knownhosts.Line([]string{name}, key) + "\n")
	}
	if old == nil && b.Len() == 0 {
		return nil
	}
	return durable.WriteFile(f.KnownHosts(), []byte(b.String()), 0o644)
}

// pinned is the host key of a node.
func (f Fleet) pinned(name string) (ssh.PublicKey, error) {
	data, err := os.ReadFile(f.KnownHosts())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for len(data) > 0 {
		_, hosts, key, _, rest, err := ssh.ParseKnownHosts(data)
		if err != nil {
			break
		}
		if len(hosts) == 1 && hosts[0] == name {
			return key, nil
		}
		data = rest
	}
	return nil, fmt.Errorf("%s: no host key of %s: the desk notes it when it writes the node's disk; if another desk wrote it, take that one's file", f.KnownHosts(), name)
}

// fingerprint is what a maintainer compares with the node's console at first
// contact; empty for a node without a key of its own.
func (f Fleet) fingerprint(cfg *node.Config) string {
	key, err := f.pinned(channelName(cfg))
	if err != nil {
		return ""
	}
	return ssh.FingerprintSHA256(key)
}

// fingerprintText is a line about it, or nothing.
func fingerprintText(fingerprint string) string {
	if fingerprint == "" {
		return ""
	}
	return "host key of its management channel, as its console shows it: " + fingerprint + "\n"
}
