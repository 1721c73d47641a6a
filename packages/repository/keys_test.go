package repository

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

func locked(t *testing.T, passphrase string) *bench {
	t.Helper()
	b := &bench{t: t, Repository: At(t.TempDir())}
	b.Keys.Encrypt, b.Keys.WorkFactor = true, 2
	b.Keys.Passphrase = func(string) (string, error) { return passphrase, nil }
	b.must(b.Init(t.Context()))
	return b
}

func TestEncryptedKeys(t *testing.T) {
	b := locked(t, "correct horse")
	for _, role := range Roles() {
		for _, file := range b.keyFiles(role) {
			data, err := os.ReadFile(file)
			b.must(err)
			info, err := os.Stat(file)
			b.must(err)
			if want := role == metadata.ROOT || role == metadata.TARGETS; encrypted(data) != want {
				t.Errorf("%s: encrypted %v, want %v", file, !want, want)
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s: mode %v", file, info.Mode())
			}
		}
	}
	b.release("1", 0)
	b.Keys.Encrypt = false
	_, err := b.RotateKey(t.Context(), metadata.TARGETS, "")
	b.must(err)
	data, err := os.ReadFile(b.keyFiles(metadata.TARGETS)[0])
	b.must(err)
	if !encrypted(data) {
		t.Error("an encrypted key was replaced by one in the clear")
	}
}

func TestPassphraseMistakes(t *testing.T) {
	b := locked(t, "right")
	publish := func() error { _, err := b.SetTargets(t.Context(), map[string][]byte{"x": nil}); return err }
	b.Keys.Passphrase = func(string) (string, error) { return "wrong", nil }
	wantError(t, publish(), "targets-", "wrong passphrase")
	b.Keys.Passphrase = func(string) (string, error) { return "", nil }
	wantError(t, publish(), "targets-", "empty", "MM_PASSPHRASE")
	b.Keys.Passphrase = nil
	wantError(t, publish(), "targets-", "a passphrase is needed", "MM_PASSPHRASE")
	b.must(b.Renew(t.Context())) // cron has none
}

func TestDamagedKeyFiles(t *testing.T) {
	b := newBench(t)
	file := b.keyFiles(metadata.TIMESTAMP)[0]
	other, err := os.ReadFile(b.keyFiles(metadata.SNAPSHOT)[0])
	b.must(err)
	for want, content := range map[string][]byte{
		"is no key in PEM":    []byte("x"),
		"asn1":                []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
		"larger than":         bytes.Repeat([]byte("x"), maxKeyFile+1),
		"is the key":          other,
		"a passphrase is":     []byte("-----BEGIN AGE ENCRYPTED FILE-----\n"),
		"is no key in PEM; r": {},
	} {
		b.must(os.WriteFile(file, content, 0o600))
		wantError(t, b.Renew(t.Context()), filepath.Base(file), want)
	}
}

func TestNoKeyFolder(t *testing.T) {
	r := At(t.TempDir())
	r.Keys.Dirs = nil
	wantError(t, r.Init(t.Context()), "no folder")
}

// FuzzKeyFile: a key file comes from a USB stick.
func FuzzKeyFile(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN AGE ENCRYPTED FILE-----\n-----END AGE ENCRYPTED FILE-----\n"))
	file := filepath.Join(f.TempDir(), "x.key")
	k := Keys{Passphrase: func(string) (string, error) { return "p", nil }}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := k.read(file); err == nil && got.id == "" {
			t.Error("a key without ID")
		}
	})
}
