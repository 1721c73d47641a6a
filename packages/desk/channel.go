package desk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"micromirror/packages/node"
)

const (
	channelLimit  = 15 * time.Second // until a node lets us in
	channelAnswer = 256 << 20        // bytes of an answer
)

// channel is how the commands that a node runs reach it.
type channel struct {
	site
	address  string
	identity string
}

func (s *channel) flags(c *cobra.Command) {
	fleetFlag(c, &s.fleet)
	c.Flags().BoolVar(&s.json, "json", false, "print JSON")
	c.Flags().StringVar(&s.identity, "identity", "", "file of your private key (default: the SSH agent, then ~/.ssh/id_ed25519 and id_ecdsa)")
	c.Flags().StringVar(&s.address, "address", "", "HOST:PORT where the node answers, if not by its name")
}

// order runs a command on a node and copies its answer to w.
func (d *desk) order(ctx context.Context, s *channel, name, line string, w io.Writer) error {
	client, err := d.enter(ctx, s, name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer client.Close()
	stop := context.AfterFunc(ctx, func() { client.Close() })
	defer stop()
	session, err := client.NewSession()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	reason := &atMost{w: new(strings.Builder), left: 4096}
	session.Stdout, session.Stderr = &atMost{w: w, left: channelAnswer}, reason
	err = session.Run(line)
	var exit *ssh.ExitError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &exit):
		return fmt.Errorf("%s: %s: %s", name, line, oneWord(strings.TrimSpace(fmt.Sprint(reason.w))))
	case err != nil:
		return fmt.Errorf("%s: %s: the answer broke off: %w", name, line, err)
	}
	return nil
}

// enter opens the channel of a node whose host key is the one that was noted.
func (d *desk) enter(ctx context.Context, s *channel, name string) (*ssh.Client, error) {
	f := Fleet(s.fleet)
	cfg, err := f.Read(name)
	if err != nil {
		return nil, err
	}
	if !cfg.Fleet.Manage.On() {
		return nil, fmt.Errorf("%s: manage.keys is empty, so nodes have no management channel; add your public key and firewall.allow, then \"mirrorctl config publish\"", f.File())
	}
	host, err := f.pinned(channelName(cfg))
	if err != nil {
		return nil, err
	}
	keys, done, err := d.signers(s)
	if err != nil {
		return nil, err
	}
	defer done()
	address := s.address
	if address == "" {
		address = channelAddress(cfg)
	}
	config := &ssh.ClientConfig{
		User: "maintainer", Auth: []ssh.AuthMethod{ssh.PublicKeys(keys...)},
		HostKeyCallback: pinnedKey(f, host), HostKeyAlgorithms: []string{host.Type()},
	}
	return d.handshake(ctx, address, config, cfg)
}

// pinnedKey takes only the key that the desk gave the node.
func pinnedKey(f Fleet, want ssh.PublicKey) ssh.HostKeyCallback {
	return func(_ string, _ net.Addr, got ssh.PublicKey) error {
		if string(got.Marshal()) == string(want.Marshal()) {
			return nil
		}
		return fmt.Errorf("it shows the host key %s, but %s has %s: this is another machine, or its disk was written by another desk", ssh.FingerprintSHA256(got), f.KnownHosts(), ssh.FingerprintSHA256(want))
	}
}

func (d *desk) handshake(ctx context.Context, address string, config *ssh.ClientConfig, cfg *node.Config) (*ssh.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, channelLimit)
	defer cancel()
	c, err := d.dial(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("does not answer: %w (it answers only to the prefixes of firewall.allow: %s)", err, strings.Join(cfg.Fleet.Firewall.Allow, ", "))
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	conn, channels, requests, err := ssh.NewClientConn(c, address, config)
	if !stop() && err == nil {
		err = context.DeadlineExceeded
	}
	if err != nil {
		c.Close()
		return nil, refusedText(err)
	}
	return ssh.NewClient(conn, channels, requests), nil
}

// refusedText says what to do about a node that does not let us in.
func refusedText(err error) error {
	switch {
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fmt.Errorf("does not know your key; is it in fleet.json, manage.keys, and published? (%w)", err)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("closed the connection: too many within a short time, or from outside firewall.allow (%w)", err)
	}
	return err
}

// signers are the maintainer's private keys; done closes the agent.
func (d *desk) signers(s *channel) (keys []ssh.Signer, done func(), err error) {
	done = func() {}
	if s.identity != "" {
		key, err := d.privateKey(s.identity)
		if err != nil {
			return nil, done, err
		}
		return []ssh.Signer{key}, done, nil
	}
	if socket := d.getenv("SSH_AUTH_SOCK"); socket != "" {
		if c, err := net.Dial("unix", socket); err == nil {
			done = func() { c.Close() }
			keys, _ = agent.NewClient(c).Signers() // one that does not answer has no keys
		}
	}
	for _, name := range []string{"id_ed25519", "id_ecdsa"} {
		key, err := d.privateKey(filepath.Join(d.getenv("HOME"), ".ssh", name))
		if errors.Is(err, fs.ErrNotExist) || err != nil && len(keys) > 0 {
			continue
		}
		if err != nil {
			return nil, done, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, done, errors.New(`no private key: start an SSH agent, or name a file with --identity; "ssh-keygen -t ed25519" makes one`)
	}
	return keys, done, nil
}

// privateKey reads a key file, asking for its passphrase if it has one.
func (d *desk) privateKey(file string) (ssh.Signer, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	key, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		pass, err := d.terminal("passphrase of " + file + ": ")
		if err != nil {
			return nil, fmt.Errorf("%s: %w; or add it to an SSH agent", file, err)
		}
		key, err = ssh.ParsePrivateKeyWithPassphrase(text, []byte(pass))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return key, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

// atMost refuses more than so many bytes.
type atMost struct {
	w    io.Writer
	left int
}

func (a *atMost) Write(p []byte) (int, error) {
	if len(p) > a.left {
		return 0, errors.New("the node answers too much")
	}
	a.left -= len(p)
	return a.w.Write(p)
}
