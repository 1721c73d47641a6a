package ktls

import (
	"encoding/hex"
	"errors"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The layouts are those of linux/tls.h: version, cipher type, iv, key, salt,
// rec_seq, on a little-endian machine.
func TestInfo(t *testing.T) {
	key := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(0xa0 + i)
		}
		return b
	}
	iv := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	const key16 = "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
	for name, test := range map[string]struct {
		key  Key
		want string
	}{
		"1.3 with AES-128": {Key{0x0304, key(16), iv, 1}, "0403" + "3300" + "05060708090a0b0c" + key16 + "01020304" + "0000000000000001"},
		"1.3 with AES-256": {Key{0x0304, key(32), iv, 0x1ff}, "0403" + "3400" + "05060708090a0b0c" + key16 +
			"b0b1b2b3b4b5b6b7b8b9babbbcbdbebf" + "01020304" + "00000000000001ff"},
		"1.2 counts its explicit nonce from the sequence number": {Key{0x0303, key(16), iv[:4], 1},
			"0303" + "3300" + "0000000000000001" + key16 + "01020304" + "0000000000000001"},
	} {
		got, err := test.key.Info()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(test.want, hex.EncodeToString(got)); d != "" {
			t.Errorf("%s: -want +got:\n%s", name, d)
		}
	}
	for name, k := range map[string]Key{
		"odd key":        {0x0304, key(24), iv, 0},
		"ChaCha in 1.2":  {0x0303, key(32), iv, 0},
		"short nonce":    {0x0304, key(16), iv[:4], 0},
		"other version":  {0x0302, key(16), iv[:4], 0},
		"nothing at all": {},
	} {
		if info, err := k.Info(); !errors.Is(err, ErrCipher) {
			t.Errorf("%s: %x, %v", name, info, err)
		}
	}
}

// Whatever the kernel says, a refusal leaves a socket that can be written to.
func TestRefusalLeavesTheSocketAsItWas(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	raw, err := server.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var refused error
	if err := raw.Control(func(fd uintptr) {
		refused = Transmit(int(fd), Key{Version: 0x0304, Key: make([]byte, 24), IV: make([]byte, 12)})
	}); err != nil {
		t.Fatal(err)
	}
	if refused == nil {
		t.Fatal("a key of 24 bytes was taken")
	}
	if _, err := server.Write([]byte("plain")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := client.Read(got); err != nil || string(got) != "plain" {
		t.Errorf("read %q, %v", got, err)
	}
}
