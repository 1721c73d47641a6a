package repository

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sys/unix"

	"micromirror/packages/durable"
)

// Keys finds key files. A file holds an ed25519 key as PKCS #8 in PEM; those of
// root and targets may be encrypted with a passphrase (age). The online keys,
// snapshot and timestamp, never are: cron has to use them.
type Keys struct {
	// Dirs are searched in order, for example the fleet's key folder and two USB
	// sticks with root keys; new keys are written to the first.
	Dirs []string
	// Encrypt makes new keys of root and targets encrypted; a key that replaces
	// an encrypted one always is.
	Encrypt bool
	// Passphrase is asked for the passphrase of a file; nil means that none is
	// known.
	Passphrase func(file string) (string, error)
	// WorkFactor is the cost of guessing a passphrase, as a power of two; 0 for
	// age's own.
	WorkFactor int
}

type key struct {
	id      string
	public  *metadata.Key
	private ed25519.PrivateKey
}

// errMissing says that a key's file is in none of the folders.
var errMissing = errors.New("key file not found")

const (
	keySuffix    = ".key"
	retired      = ".retired"
	pemType      = "PRIVATE KEY"
	defaultWork  = 18
	maxKeyFile   = 1 << 16
	shortID      = 8
	offlineHint  = "name the folder that has it with --keys"
	passwordHint = "set MM_PASSPHRASE or run it in a terminal"
)

func keyName(role, id string) string { return role + "-" + id[:min(shortID, len(id))] + keySuffix }

// home is the folder for new keys; it is made if need be.
func (k *Keys) home() (string, error) {
	if len(k.Dirs) == 0 {
		return "", errors.New("keys: no folder given")
	}
	if err := os.MkdirAll(k.Dirs[0], 0o700); err != nil {
		return "", fmt.Errorf("keys: %w", err)
	}
	// The fleet folder may well be in git, the keys must not be.
	ignore := filepath.Join(k.Dirs[0], ".gitignore")
	if _, err := os.Stat(ignore); errors.Is(err, fs.ErrNotExist) {
		if err := durable.WriteFile(ignore, []byte("*\n"), 0o644); err != nil {
			return "", fmt.Errorf("keys: %w", err)
		}
	}
	return k.Dirs[0], nil
}

// find returns the file of a key.
func (k *Keys) find(role, id string) (string, error) {
	for _, dir := range k.Dirs {
		file := filepath.Join(dir, keyName(role, id))
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s: %w in %s; %s", keyName(role, id), errMissing, strings.Join(k.Dirs, ", "), offlineHint)
}

// load reads the key of a role with that ID.
func (k *Keys) load(role, id string) (*key, error) {
	file, err := k.find(role, id)
	if err != nil {
		return nil, err
	}
	got, err := k.read(file)
	if err != nil {
		return nil, err
	}
	if got.id != id {
		return nil, fmt.Errorf("%s: is the key %s, not %s; restore the file from a copy", file, got.id, id)
	}
	return got, nil
}

func (k *Keys) read(file string) (*key, error) {
	data, err := readFile(file, maxKeyFile)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if encrypted(data) {
		if data, err = k.decrypt(file, data); err != nil {
			return nil, fmt.Errorf("read key %s: %w", file, err)
		}
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != pemType {
		return nil, fmt.Errorf("read key %s: is no key in PEM; restore it from a copy", file)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w; restore it from a copy", file, err)
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read key %s: is no ed25519 key", file)
	}
	return newKey(private)
}

func readFile(file string, most int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s: is larger than %d bytes", file, most)
	}
	return data, err
}

func newKey(private ed25519.PrivateKey) (*key, error) {
	public, err := metadata.KeyFromPublicKey(private.Public())
	if err != nil {
		return nil, err
	}
	id, err := public.ID()
	if err != nil {
		return nil, err
	}
	return &key{id: id, public: public, private: private}, nil
}

func (k *key) signer() (signature.Signer, error) {
	return signature.LoadSigner(k.private, crypto.Hash(0))
}

func encrypted(data []byte) bool { return bytes.HasPrefix(data, []byte(armor.Header)) }

func (k *Keys) passphrase(file string) (string, error) {
	if k.Passphrase == nil {
		return "", errors.New("a passphrase is needed; " + passwordHint)
	}
	p, err := k.Passphrase(file)
	if err == nil && p == "" {
		err = errors.New("the passphrase is empty; " + passwordHint)
	}
	return p, err
}

func (k *Keys) decrypt(file string, data []byte) ([]byte, error) {
	p, err := k.passphrase(file)
	if err != nil {
		return nil, err
	}
	id, err := age.NewScryptIdentity(p)
	if err != nil {
		return nil, err
	}
	plain, err := age.Decrypt(armor.NewReader(bytes.NewReader(data)), id)
	if err != nil {
		return nil, fmt.Errorf("wrong passphrase, or the file is damaged: %w", err)
	}
	return io.ReadAll(io.LimitReader(plain, maxKeyFile))
}

func (k *Keys) encrypt(file string, data []byte) ([]byte, error) {
	p, err := k.passphrase(file)
	if err != nil {
		return nil, err
	}
	to, err := age.NewScryptRecipient(p)
	if err != nil {
		return nil, err
	}
	to.SetWorkFactor(cmp.Or(k.WorkFactor, defaultWork))
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, to)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := errors.Join(w.Close(), text.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// fresh returns n keys of a role that were never used: those that an interrupted
// change left behind, and new ones.
func (k *Keys) fresh(role string, n int, used []string) ([]*key, error) {
	dir, err := k.home()
	if err != nil {
		return nil, err
	}
	out, err := k.left(dir, role, n, used)
	if err != nil {
		return nil, err
	}
	encrypt := k.Encrypt || k.anyEncrypted(role, used)
	for len(out) < n {
		made, err := k.generate(dir, role, encrypt)
		if err != nil {
			return nil, err
		}
		out = append(out, made)
	}
	return out, nil
}

// left reads up to n keys of a role that were never used.
func (k *Keys) left(dir, role string, n int, used []string) ([]*key, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []*key
	for _, f := range files {
		known := slices.ContainsFunc(used, func(id string) bool { return keyName(role, id) == f.Name() })
		if known || len(out) == n || !strings.HasPrefix(f.Name(), role+"-") || !strings.HasSuffix(f.Name(), keySuffix) {
			continue
		}
		found, err := k.read(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		out = append(out, found)
	}
	return out, nil
}

func (k *Keys) anyEncrypted(role string, ids []string) bool {
	return slices.ContainsFunc(ids, func(id string) bool {
		file, err := k.find(role, id)
		if err != nil {
			return false
		}
		data, err := readFile(file, maxKeyFile)
		return err == nil && encrypted(data)
	})
}

func (k *Keys) generate(dir, role string, encrypt bool) (*key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	made, err := newKey(private)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	data := pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})
	file := filepath.Join(dir, keyName(role, made.id))
	if encrypt && (role == metadata.ROOT || role == metadata.TARGETS) {
		if data, err = k.encrypt(file, data); err != nil {
			return nil, fmt.Errorf("make key %s: %w", file, err)
		}
	}
	return made, durable.WriteFile(file, data, 0o600)
}

// retire marks the file of a key that is no longer used.
func (k *Keys) retire(role, id string) error {
	file, err := k.find(role, id)
	if errors.Is(err, errMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	err = durable.Rename(file, file+retired)
	if errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission) {
		return nil // a medium that cannot be written; the key is worth nothing
	}
	if err != nil {
		return fmt.Errorf("retire key: %w", err)
	}
	return nil
}
