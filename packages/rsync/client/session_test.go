package client

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"micromirror/packages/rsync/filter"
	"micromirror/packages/rsync/flist"
	"micromirror/packages/rsync/wire"
)

func TestLogin(t *testing.T) {
	secrets := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(secrets, []byte("mirror:sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startPeer(t, t.TempDir(), "auth users = mirror", "secrets file = "+secrets)
	tests := []struct {
		name, user, password string
		want                 string // of the error
	}{
		{"right", "mirror", "sesame", ""},
		{"wrong password", "mirror", "open", "@ERROR: auth failed on module m"},
		{"wrong user", "other", "sesame", "@ERROR: auth failed on module m"},
		{"no user", "", "", "no user is configured"},
	}
	for _, tt := range tests {
		for protocol := wire.MinProtocol; protocol <= wire.MaxProtocol; protocol++ {
			cfg := p.config()
			cfg.Protocol, cfg.User, cfg.Password = protocol, tt.user, tt.password
			c, err := Dial(t.Context(), cfg)
			if err == nil {
				_, err = c.List(t.Context(), ListOptions{})
				c.Close()
			}
			if tt.want == "" && err == nil {
				continue
			}
			if tt.want == "" || err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, ErrRefused) {
				t.Errorf("%s, protocol %d: %v", tt.name, protocol, err)
			}
		}
	}
}

func TestAuthResponse(t *testing.T) {
	tests := []struct {
		digests  string
		protocol int
		want     int // length in base64
		fails    bool
	}{
		{"sha512 sha256 sha1 md5 md4", 32, 86, false},
		{"md5 sha256", 31, 43, false},
		{"md4", 31, 22, false},
		{"", 30, 22, false},
		{"", 27, 22, false},
		{"crc", 31, 0, true},
	}
	for _, tt := range tests {
		got, err := authResponse("password", "challenge", tt.digests, tt.protocol)
		if len(got) != tt.want || (err != nil) != tt.fails {
			t.Errorf("%q, %d: %q, %v", tt.digests, tt.protocol, got, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	p := startPeer(t, t.TempDir(), "refuse options = checksum", "max connections = 0")
	cfg := p.config()
	cfg.Module = "nosuch"
	if _, err := Dial(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "Unknown module 'nosuch'") {
		t.Errorf("unknown module: %v", err)
	}
	c, err := Dial(t.Context(), p.config())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.List(t.Context(), ListOptions{Checksum: true}); err == nil || !strings.Contains(err.Error(), "refuse") {
		t.Errorf("refused option: %v", err)
	}
}

// TestMissingPath lists what is not there: the server reports it, sends an empty
// list and leaves.
func TestMissingPath(t *testing.T) {
	p := startPeer(t, t.TempDir())
	for protocol := wire.MinProtocol; protocol <= wire.MaxProtocol; protocol++ {
		cfg := p.config()
		cfg.Protocol = protocol
		c, err := Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		list, err := c.List(t.Context(), ListOptions{Path: "missing"})
		if err != nil {
			t.Fatal(err)
		}
		result, err := c.Transfer(t.Context(), Request{})
		if err != nil {
			t.Errorf("protocol %d: %v", protocol, err)
		}
		if list.Len() != 0 || list.IOError == 0 || result.Code() != 23 {
			t.Errorf("protocol %d: %d entries, I/O error %d, messages %q", protocol, list.Len(), list.IOError, result.Messages)
		}
	}
}

// TestPart ends a session without fetching anything; the server has nothing to
// complain about.
func TestPart(t *testing.T) {
	src := t.TempDir()
	writeFile(t, filepath.Join(src, "x"), []byte("x"))
	p := startPeer(t, src)
	for protocol := wire.MinProtocol; protocol <= wire.MaxProtocol; protocol++ {
		cfg := p.config()
		cfg.Protocol = protocol
		c, err := Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.List(t.Context(), ListOptions{}); err != nil {
			t.Fatal(err)
		}
		if result, err := c.Transfer(t.Context(), Request{}); err != nil || result.Code() != 0 {
			t.Errorf("protocol %d: %v, %+v", protocol, err, result)
		}
	}
	log, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(log), "error") || strings.Contains(string(log), "unexpectedly") {
		t.Errorf("log of the server:\n%s", log)
	}
}

func TestParseGreeting(t *testing.T) {
	tests := []struct {
		line     string
		protocol int
		digests  string
		fails    bool
	}{
		{"@RSYNCD: 31.0 sha512 md5", 31, "sha512 md5", false},
		{"@RSYNCD: 32.0", 32, "", false},
		{"@RSYNCD: 28", 28, "", false},
		{"@RSYNCD: 31.14", 30, "", false},
		{"@RSYNCD: x", 0, "", true},
		{"@RSYNCD: -5", 0, "", true},
		{"@ERROR: no", 0, "", true},
		{"HTTP/1.1 400", 0, "", true},
		{"", 0, "", true},
	}
	for _, tt := range tests {
		protocol, digests, err := parseGreeting(tt.line)
		if protocol != tt.protocol || digests != tt.digests || (err != nil) != tt.fails {
			t.Errorf("%q: %d, %q, %v", tt.line, protocol, digests, err)
		}
	}
}

// TestIOError lists a tree of which a part cannot be read.
func TestIOError(t *testing.T) {
	src := t.TempDir()
	for dir := src; dir != "/"; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o055 != 0o055 && os.Chmod(dir, 0o755) != nil {
			t.Fatalf("%s cannot be opened to others", dir)
		}
	}
	writeFile(t, filepath.Join(src, "x"), []byte("x"))
	if err := os.Mkdir(filepath.Join(src, "secret"), 0o000); err != nil {
		t.Fatal(err)
	}
	setting := ""
	if os.Getuid() == 0 {
		setting = "uid = 65534\ngid = 65534"
	}
	p := startPeer(t, src, setting)
	for protocol := wire.MinProtocol; protocol <= wire.MaxProtocol; protocol++ {
		cfg := p.config()
		cfg.Protocol = protocol
		c, err := Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		list, err := c.List(t.Context(), ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if list.IOError&wire.IOErrGeneral == 0 || list.Len() != 3 {
			t.Errorf("protocol %d: I/O error %d, %d entries", protocol, list.IOError, list.Len())
		}
		c.Close()
	}
}

func TestExcludedNames(t *testing.T) {
	b := flist.NewBuilder(flist.Limits{})
	for _, name := range []string{"a", "secret", "b"} {
		if _, err := b.Add(flist.File{Name: name, Mode: flist.ModeRegular | 0o644, HardLink: flist.NoHardLink}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	for rule, refused := range map[string]bool{"- secret": true, "- other": false, "- secret/": false, "P secret": false, "+ *": false} {
		rules, err := filter.Parse(rule)
		if err != nil {
			t.Fatal(err)
		}
		if err := obeys(list, rules); errors.Is(err, ErrProtocol) != refused {
			t.Errorf("rule %q: %v", rule, err)
		}
	}
	if err := obeys(list, nil); err != nil {
		t.Error(err)
	}
}
