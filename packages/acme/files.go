package acme

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"micromirror/packages/certificate"
	"micromirror/packages/daemon"
	"micromirror/packages/durable"
)

const (
	accountFile  = "account.key"
	orderFile    = "order.json"
	statusFile   = "status.json"
	challengeDir = "challenge"
)

// newKey makes a key: of P-256, the cheapest to serve with.
func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func parseKey(data []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("no key in PEM form")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	own, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("key of type %T", key)
	}
	return own, nil
}

// account reads the account's key, or makes one. A damaged key is replaced: the
// authority gives a new account to a new key.
func (m *Manager) account() (crypto.Signer, error) {
	file := filepath.Join(m.Dir, accountFile)
	data, err := os.ReadFile(file)
	if err == nil {
		key, parseErr := parseKey(data)
		if parseErr == nil {
			return key, nil
		}
		m.Log.Error("account key made anew", "err", parseErr)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read account: %w", err)
	}
	key, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("make account: %w", err)
	}
	if data, err = encodeKey(key); err != nil {
		return nil, fmt.Errorf("make account: %w", err)
	}
	return key, durable.WriteFile(file, data, 0o600)
}

// order is what is kept of an order under way.
type order struct {
	Directory string   `json:"directory"`
	Names     []string `json:"names"`
	URL       string   `json:"url"`
	Key       string   `json:"key"` // PEM
}

// readOrder returns the order under way, nil if there is none.
func (m *Manager) readOrder() *order {
	data, err := os.ReadFile(filepath.Join(m.Dir, orderFile))
	if err != nil {
		return nil
	}
	var o order
	if err := json.Unmarshal(data, &o); err != nil {
		m.Log.Error("order under way", "err", err)
		return nil
	}
	return &o
}

func (m *Manager) writeOrder(o *order) error {
	data, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("note order: %w", err)
	}
	if err := durable.WriteFile(filepath.Join(m.Dir, orderFile), data, 0o600); err != nil {
		return fmt.Errorf("note order: %w", err)
	}
	return nil
}

func (m *Manager) removeOrder() error { return durable.Remove(filepath.Join(m.Dir, orderFile)) }

// store puts a certificate in force.
func (m *Manager) store(key crypto.Signer, chain [][]byte) error {
	data, err := certificate.Encode(key, chain)
	if err != nil {
		return err
	}
	cert, err := certificate.Parse(data)
	if err != nil {
		return err
	}
	file := filepath.Join(m.Dir, certificate.File)
	if err := durable.WriteFile(file, data, 0o600); err != nil {
		return fmt.Errorf("store certificate: %w", err)
	}
	m.cert = cert
	daemon.Notice(m.Log, "certificate for "+strings.Join(cert.Leaf.DNSNames, " ")+" until "+cert.Leaf.NotAfter.UTC().Format(time.DateTime))
	return m.share(file)
}

// share lets httpd read the certificate.
func (m *Manager) share(file string) error {
	if m.Group < 0 {
		return nil
	}
	if err := os.Chown(file, -1, m.Group); err != nil {
		return fmt.Errorf("share certificate: %w", err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		return fmt.Errorf("share certificate: %w", err)
	}
	return nil
}

// writeStatus replaces the status file, in memory: a rename is enough.
func (m *Manager) writeStatus() error {
	data, err := json.MarshalIndent(m.status, "", "  ")
	if err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	file := filepath.Join(m.Volatile, statusFile)
	if err := os.WriteFile(file+".new", append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	return nil
}
