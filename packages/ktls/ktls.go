// Package ktls gives the sending side of a TLS connection to the kernel, which
// from then on makes records of whatever is written to the socket, by sendfile
// too.
//
// Promise: Transmit either hands everything over or leaves the socket as it was,
// so that the caller can go on sealing by itself; the usual reasons are a kernel
// without the module tls and a connection that the other side has reset. After it
// has succeeded there is no way back: the caller must not seal another record,
// and a connection whose keys are to change has to end. The receiving side stays
// as it is. Only AES-GCM is handed over. What the kernel cannot know is told by
// SendAlert: the alert that ends a connection in order.
//
// The state that is handed over is key, nonce and the sequence number of the next
// record. In TLS 1.2 records carry half of their nonce; the kernel counts that
// half up from the sequence number, as crypto/tls does, so that no nonce is ever
// used twice.
package ktls

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Key is the state of a direction.
type Key struct {
	Version uint16 // 0x0303 or 0x0304
	Key     []byte // of AES-128 or AES-256
	IV      []byte // 12 bytes in TLS 1.3, 4 in TLS 1.2
	Seq     uint64 // of the next record
}

// ErrCipher means that the kernel is not asked for this.
var ErrCipher = errors.New("not a key for AES-GCM in TLS 1.2 or 1.3")

// Numbers of linux/tls.h.
const (
	version12     = 0x0303
	version13     = 0x0304
	aesGCM128     = 51
	aesGCM256     = 52
	transmit      = 1 // TLS_TX
	setRecordType = 1 // TLS_SET_RECORD_TYPE
)

// Info is the key as the kernel wants it: struct tls12_crypto_info_aes_gcm_128 or
// …_256 of linux/tls.h.
func (k Key) Info() ([]byte, error) {
	cipher := map[int]uint16{16: aesGCM128, 32: aesGCM256}[len(k.Key)]
	iv := map[uint16]int{version12: 4, version13: 12}[k.Version]
	if cipher == 0 || iv == 0 || len(k.IV) != iv {
		return nil, ErrCipher
	}
	seq := binary.BigEndian.AppendUint64(nil, k.Seq)
	explicit := seq
	if iv == 12 {
		explicit = k.IV[4:]
	}
	b := binary.NativeEndian.AppendUint16(nil, k.Version)
	b = binary.NativeEndian.AppendUint16(b, cipher)
	b = append(b, explicit...)
	b = append(b, k.Key...)
	b = append(b, k.IV[:4]...)
	return append(b, seq...), nil
}

// Transmit hands the sending side of a connected TCP socket over. Nothing must be
// waiting to be written by the caller.
func Transmit(fd int, k Key) error {
	info, err := k.Info()
	if err != nil {
		return err
	}
	if err := unix.SetsockoptString(fd, unix.SOL_TCP, unix.TCP_ULP, "tls"); err != nil {
		return fmt.Errorf("kernel TLS: %w", os.NewSyscallError("setsockopt TCP_ULP", err))
	}
	if err := unix.SetsockoptString(fd, unix.SOL_TLS, transmit, string(info)); err != nil {
		return fmt.Errorf("kernel TLS: %w", os.NewSyscallError("setsockopt TLS_TX", err))
	}
	return nil
}

// typeAlert is the content type of an alert record.
const typeAlert = 21

// SendAlert sends an alert on a socket that was handed over, without waiting.
func SendAlert(fd int, body []byte) error {
	oob := make([]byte, unix.CmsgSpace(1))
	h := binary.NativeEndian.AppendUint64(oob[:0], uint64(unix.CmsgLen(1)))
	h = binary.NativeEndian.AppendUint32(h, unix.SOL_TLS)
	h = binary.NativeEndian.AppendUint32(h, setRecordType)
	_ = append(h, typeAlert)
	if err := unix.Sendmsg(fd, body, oob, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("kernel TLS: send alert: %w", err)
	}
	return nil
}
