package daemon

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"micromirror/packages/rsync/wire"
)

// FuzzOptions parses arbitrary arguments.
func FuzzOptions(f *testing.F) {
	f.Add("--server\x00--sender\x00-vlogDtpre.iLsfxCIvu\x00--exclude=*.foo\x00.\x00mod/", uint8(31))
	f.Add("-B\x00700\x00--timeout\x00-1\x00--no-r\x00-f\x00- x\x00--\x00-z", uint8(28))
	f.Fuzz(func(t *testing.T, args string, protocol uint8) {
		opts, paths := splitArgs(strings.Split(args, "\x00"), protocol >= 30)
		o := new(options)
		if err := o.parse(opts, []string{"checksum", "delete*"}); err == nil {
			o.check()
		}
		for _, p := range paths {
			if s := sanitize(p); strings.HasPrefix(s, "/") || strings.Contains("/"+s+"/", "/../") {
				t.Errorf("sanitize(%q) = %q", p, s)
			}
		}
	})
}

// FuzzGreeting parses arbitrary greetings.
func FuzzGreeting(f *testing.F) {
	for _, g := range []string{"@RSYNCD: 28", "@RSYNCD: 31.0", "@RSYNCD: 32.0 sha512 md5", "@RSYNCD: 32.14 x", "@RSYNCD: 99.0 x", "@RSYNCD: -1"} {
		f.Add(g)
	}
	f.Fuzz(func(t *testing.T, line string) {
		protocol, complaint := parseGreeting(line)
		if complaint == "" && (protocol < wire.MinProtocol || protocol > wire.MaxProtocol) {
			t.Errorf("parseGreeting(%q) = %d", line, protocol)
		}
	})
}

// FuzzConversation sends everything that a client could say, after a greeting
// of some protocol and the name of a module that exists.
func FuzzConversation(f *testing.F) {
	root := filepath.Join(f.TempDir(), "src")
	tree(f, root, map[string]string{"a": "aaaa", "d/b": "bbbb", "l": "->d"})
	m := mirrorModule(root)
	m.Generation = func() (string, error) { return "same", nil }
	s, err := New(Config{Modules: []Module{m}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("--server\n--sender\n-rl\n--exclude=*.foo\n.\nmirror/\n\n\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"), uint8(28))
	f.Add([]byte("--server\x00--sender\x00-re.LsfxCIvu\x00.\x00mirror/\x00\x00\x06xxh128\x04\x00\x00\x07\x00\x00\x00\x00\x01\x00\x00\x07\x00"), uint8(31))
	f.Add([]byte("--server\x00--sender\x00-s\x00\x00rsync\x00-r\x00.\x00mirror/\x00\x00"), uint8(32))
	f.Fuzz(func(t *testing.T, said []byte, protocol uint8) {
		hello := []string{"27", "28", "29", "30.0", "31.0", "32.0 md5"}[int(protocol)%6]
		client, server := net.Pipe()
		ended := make(chan struct{})
		go func() { s.ServeConn(context.Background(), server); close(ended) }()
		go func() {
			io.WriteString(client, "@RSYNCD: "+hello+"\nmirror\n")
			client.Write(said)
			client.SetWriteDeadline(time.Unix(1, 0)) // no more
			client.Close()
		}()
		io.Copy(io.Discard, client)
		<-ended
	})
}
