package certificate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// make returns the content of a file for a name.
func newFile(t testing.TB, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	data, err := Encode(key, [][]byte{der})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParse(t *testing.T) {
	a, b := string(newFile(t, "a.example")), string(newFile(t, "b.example"))
	cut := strings.Index(a, "-----BEGIN CERT")
	for name, test := range map[string]struct {
		data string
		ok   bool
	}{
		"as written":       {a, true},
		"another's key":    {b[:strings.Index(b, "-----BEGIN CERT")] + a[cut:], false},
		"no key":           {a[cut:], false},
		"no certificate":   {a[:cut], false},
		"half":             {a[:len(a)-30], false},
		"empty":            {"", false},
		"more than enough": {a + strings.Repeat("x", maxFile), false},
	} {
		cert, err := Parse([]byte(test.data))
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && cert.Leaf.DNSNames[0] != "a.example" {
			t.Errorf("%s: %v", name, cert.Leaf.DNSNames)
		}
	}
}

func TestKeeperFollowsTheFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, File)
	write := func(data []byte) {
		t.Helper()
		temporary := filepath.Join(dir, "new")
		if err := os.WriteFile(temporary, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(temporary, file); err != nil {
			t.Fatal(err)
		}
	}
	first, second := newFile(t, "first.example"), newFile(t, "the-second.example")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		k := Follow(ctx, file, time.Second, slog.New(slog.DiscardHandler))
		if k.Current() != nil {
			t.Fatal("a certificate out of nothing")
		}
		for _, step := range []struct {
			data []byte
			want string
		}{{first, "first.example"}, {[]byte("damaged"), "first.example"}, {second, "the-second.example"}} {
			write(step.data)
			time.Sleep(2 * time.Second) // of the bubble's clock
			synctest.Wait()
			select {
			case <-k.Ready():
			default:
				t.Fatal("not ready")
			}
			if got := k.Current().Leaf.DNSNames[0]; got != step.want {
				t.Errorf("certificate of %s, want %s", got, step.want)
			}
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if k.Current() == nil {
			t.Error("the certificate went with its file")
		}
	})
}

// The file comes a moment before the right to read it, and that leaves its times
// as they are.
func TestFileThatMayNotBeReadYet(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, File)
	for _, err := range []error{os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), os.WriteFile(file, newFile(t, "a.example"), 0)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	k := &Keeper{file: file, ready: make(chan struct{}), log: slog.New(slog.DiscardHandler)}
	asNobody(t, k.look)
	if k.Current() != nil {
		t.Fatal("read what may not be read")
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	asNobody(t, k.look)
	if k.Current() == nil {
		t.Error("not read although it may be")
	}
}

// asNobody calls a function without root's rights to files.
func asNobody(t *testing.T, call func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.SetfsuidRetUid(65534)
	if err != nil {
		t.Fatal(err)
	}
	call()
	if err := unix.Setfsuid(before); err != nil {
		t.Fatal(err)
	}
}

func TestWords(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		status Status
		want   string
	}{
		"well":        {Status{State: Valid, NotAfter: now.Add(time.Hour)}, ""},
		"off":         {Status{State: Off, Reason: "no authority"}, ""},
		"none":        {Status{State: None, Reason: "CA down"}, "no certificate: CA down"},
		"unexplained": {Status{State: None}, "no certificate"},
		"late":        {Status{State: Valid, NotAfter: now.Add(time.Hour), Reason: "CA down"}, "certificate not renewed: CA down"},
		"incomplete":  {Status{State: Valid, NotAfter: now.Add(time.Hour), Incomplete: "b.example: no address"}, "certificate lacks b.example: no address"},
		"since then":  {Status{State: Valid, NotAfter: now.Add(-time.Hour)}, "certificate expired 2026-11-21 23:00:00"},
	} {
		if d := cmp.Diff(test.want, test.status.Words(now)); d != "" {
			t.Errorf("%s: -want +got:\n%s", name, d)
		}
	}
}

func TestReadStatus(t *testing.T) {
	file := filepath.Join(t.TempDir(), "status.json")
	if s := ReadStatus(file); s.State != None || s.Reason == "" {
		t.Errorf("without a file: %+v", s)
	}
	for content, want := range map[string]Status{
		`{"state":"valid","names":["a.example"]}`: {State: Valid, Names: []string{"a.example"}},
		`{"state":"none","reason":"two\nlines"}`:  {State: None, Reason: "two lines"},
		`{"state":`:                               {State: None, Reason: "acmed's status file is damaged"},
		`{}`:                                      {State: None, Reason: "acmed's status file is damaged"},
	} {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, ReadStatus(file)); d != "" {
			t.Errorf("%s: -want +got:\n%s", content, d)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(newFile(f, "a.example"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if cert, err := Parse(data); err == nil && cert.Leaf == nil {
			t.Error("a certificate without a leaf")
		}
	})
}
