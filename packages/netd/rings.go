package netd

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"micromirror/packages/daemon"
)

// wantedRing is how many packets a card shall have room for in each direction.
// Some come with so little (200 on the BCM5720, 256 on Intel's) that a processor
// that is busy for a few milliseconds loses packets; much more would only make
// packets old. The RTL8168 has a fixed number and the ConnectX-3 1024.
//
// Segmentation and checksums by the card are left as the driver has them: those
// that are off by default are off because cards of that kind hang with them, as
// RTL8168 do, and nobody could pull the plug.
const wantedRing = 2048

// ring is struct ethtool_ringparam of linux/ethtool.h.
type ring struct {
	cmd                                 uint32
	rxMax, rxMiniMax, rxJumboMax, txMax uint32
	rx, rxMini, rxJumbo, tx             uint32
}

// enlarge makes the rings of a port that is still down as long as they should be,
// and reports whether it had to.
func enlarge(port string, call func(port string, r *ring) error) (r ring, changed bool, err error) {
	r.cmd = unix.ETHTOOL_GRINGPARAM
	if err := call(port, &r); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) { // a virtual port
			err = nil
		}
		return r, false, err
	}
	rx, tx := max(r.rx, min(r.rxMax, wantedRing)), max(r.tx, min(r.txMax, wantedRing))
	if rx == r.rx && tx == r.tx {
		return r, false, nil
	}
	r.cmd, r.rx, r.tx = unix.ETHTOOL_SRINGPARAM, rx, tx
	return r, true, call(port, &r)
}

// ethtool hands a request to the driver of a port.
func ethtool(port string, r *ring) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var request struct { // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(request.name[:unix.IFNAMSIZ-1], port)
	request.data = unsafe.Pointer(r)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errno
	}
	return nil
}

// rings gives a port that is still down room for more packets. A driver that
// refuses leaves the port as it was.
func (m *manager) rings(port string) {
	r, changed, err := enlarge(port, ethtool)
	switch {
	case err != nil:
		m.env.Log.Warn("rings stay short", "port", port, "err", err)
	case changed:
		daemon.Notice(m.env.Log, fmt.Sprintf("port %s: room for %d packets in, %d out", port, r.rx, r.tx))
	}
}
