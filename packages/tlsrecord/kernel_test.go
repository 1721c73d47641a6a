package tlsrecord

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/tls"
	"encoding/binary"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// kernel does what Linux does with the bytes that it is told by setsockopt: it
// knows nothing but them.
type kernel struct {
	version  uint16
	aead     cipher.AEAD
	salt, iv []byte
	seq      uint64
}

func newKernel(t *testing.T, info []byte) *kernel {
	t.Helper()
	size := map[int]int{40: 16, 56: 32}[len(info)]
	if size == 0 {
		t.Fatalf("%d bytes of crypto_info", len(info))
	}
	k := &kernel{version: binary.NativeEndian.Uint16(info), iv: info[4:12], salt: info[12+size : 16+size], seq: binary.BigEndian.Uint64(info[16+size:])}
	block, err := aes.NewCipher(info[12 : 12+size])
	if err != nil {
		t.Fatal(err)
	}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *kernel) record(contentType byte, data string) []byte {
	nonce := append(append([]byte{}, k.salt...), k.iv...)
	content, header := []byte(data), []byte{contentType, 3, 3, 0, 0}
	var more []byte
	if k.version == tls.VersionTLS13 {
		binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^k.seq)
		content = append(content, contentType)
		header[0] = TypeApplication
		binary.BigEndian.PutUint16(header[3:], uint16(len(content)+16))
		more = header
	} else {
		more = binary.BigEndian.AppendUint64(nil, k.seq)
		more = append(more, header[:3]...)
		more = binary.BigEndian.AppendUint16(more, uint16(len(content)))
		header = append(header, k.iv...)
		binary.BigEndian.PutUint16(header[3:], uint16(len(content)+16+8))
		binary.BigEndian.PutUint64(k.iv, binary.BigEndian.Uint64(k.iv)+1)
	}
	k.seq++
	return k.aead.Seal(header, nonce, content, more)
}

// A client of crypto/tls believes what the kernel sends on our behalf.
func TestKernelGoesOn(t *testing.T) {
	server := &tls.Config{Certificates: []tls.Certificate{newCertificate(t)}}
	for name, kind := range kinds() {
		if kind.suite != 0 && suites[kind.suite].chacha {
			continue
		}
		t.Run(name, func(t *testing.T) {
			p := shake(t, server, kind, "x")
			info, err := p.session.Out.half.kernel().Info()
			if err != nil {
				t.Fatal(err)
			}
			k := newKernel(t, info)
			sent := k.record(TypeApplication, "hello, ")
			sent = append(sent, k.record(TypeApplication, "world")...)
			sent = append(sent, k.record(TypeAlert, string(CloseNotify()))...)
			if _, err := p.socket.Write(sent); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(p.client)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff("hello, world", string(got)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestOffloadRefusedChangesNothing(t *testing.T) {
	p := shake(t, &tls.Config{Certificates: []tls.Certificate{newCertificate(t)}}, clientConfig{version: tls.VersionTLS13}, "x")
	before := p.session.Out
	if err := p.session.Offload(-1); err == nil || p.session.Out != before {
		t.Errorf("offload to no socket: %v, sealer %p, want %p", err, p.session.Out, before)
	}
	p.exchange("x")
}
