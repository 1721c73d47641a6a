package tlsrecord

import (
	"bytes"
	"crypto/tls"
	"net"
	"testing"
)

// FuzzNext feeds an opener with what a hostile client may send after records of
// its own.
func FuzzNext(f *testing.F) {
	s := suites[tls.TLS_AES_128_GCM_SHA256]
	h, err := s.half13(tls.TLS_AES_128_GCM_SHA256, make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	sealer, err := h.sealer()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealer.Append(nil, TypeApplication, []byte("GET / HTTP/1.1\r\n\r\n")))
	f.Add([]byte("\x17\x03\x03\x00\x11aaaaaaaaaaaaaaaaa"))
	f.Add([]byte("\x16\x03\x01\x02\x00\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := h.opener()
		if err != nil {
			t.Fatal(err)
		}
		for {
			plain, n, err := o.Next(data)
			if err != nil || n == 0 {
				return
			}
			if n < headerSize || n > len(data) || len(plain) > MaxPlain {
				t.Fatalf("%d of %d bytes gave %d", n, len(data), len(plain))
			}
			data = data[n:]
		}
	})
}

// FuzzTap checks that what goes through a tap is what was read, record by record.
func FuzzTap(f *testing.F) {
	f.Add([]byte("\x16\x03\x01\x00\x03abc\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x02xy"), 3)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), 100)
	f.Add(append([]byte("\x16\x03\x01\x00\x40\x01\x00\x00\x3c\x03\x03"), bytes.Repeat([]byte("r"), 58)...), 7)
	f.Add([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x3c\x03\x16\x03\x01\x00\x21\x03rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr"), 50)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		if size < 1 || size > 1<<16 {
			return
		}
		tap := NewTap(reader{Reader: bytes.NewReader(data)})
		if _, err := tap.Hello(); err == nil && len(tap.rest) < min(1, len(data)) {
			t.Fatal("hello without a byte")
		}
		var got []byte
		p := make([]byte, size)
		for {
			n, err := tap.Read(p)
			got = append(got, p[:n]...)
			if err != nil {
				break
			}
		}
		if random := tap.helloRandom(); random != nil && (len(random) != randomLength || !bytes.Contains(data, random)) {
			t.Fatalf("random value % x", random)
		}
		if !bytes.HasPrefix(data, got) || len(data)-len(got) >= headerSize {
			t.Fatalf("%d of %d bytes passed", len(got), len(data))
		}
	})
}

// reader is a connection that is only read.
type reader struct {
	net.Conn
	*bytes.Reader
}

func (r reader) Read(p []byte) (int, error)  { return r.Reader.Read(p) }
func (r reader) Write(p []byte) (int, error) { return len(p), nil }
