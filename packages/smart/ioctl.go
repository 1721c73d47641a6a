package smart

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctl numbers of scsi/sg.h and linux/nvme_ioctl.h.
const (
	sgIO         = 0x2285
	nvmeAdminCmd = 0xc0484e41
)

const sector = 512

// ataDevice is the file of a disk that speaks SCSI to us and ATA to the disk.
type ataDevice uintptr

// sgHeader is struct sg_io_hdr.
type sgHeader struct {
	interfaceID    int32
	direction      int32
	commandLen     uint8
	maxSenseLen    uint8
	iovecCount     uint16
	dataLen        uint32
	data           unsafe.Pointer
	command        unsafe.Pointer
	sense          unsafe.Pointer
	timeout        uint32 // ms
	flags          uint32
	packID         int32
	_              int32
	user           unsafe.Pointer
	status         uint8
	maskedStatus   uint8
	messageStatus  uint8
	senseLen       uint8
	hostStatus     uint16
	driverStatus   uint16
	residual       int32
	duration, info uint32
}

const (
	sgNone, sgFromDevice = -1, -3
	sgTimeout            = 5000
	checkCondition       = 2
)

func (d ataDevice) do(c ataCommand) (data []byte, mid, high byte, err error) {
	command, sense := passThrough(c), make([]byte, 64)
	h := sgHeader{
		interfaceID: 'S', direction: sgNone, timeout: sgTimeout,
		commandLen: uint8(len(command)), command: unsafe.Pointer(&command[0]),
		maxSenseLen: uint8(len(sense)), sense: unsafe.Pointer(&sense[0]),
	}
	if !c.without {
		data = make([]byte, sector)
		h.direction, h.dataLen, h.data = sgFromDevice, sector, unsafe.Pointer(&data[0])
	}
	err = ioctl(uintptr(d), sgIO, unsafe.Pointer(&h))
	runtime.KeepAlive([][]byte{command, sense, data})
	switch {
	case err != nil:
		return nil, 0, 0, err
	case h.hostStatus != 0:
		return nil, 0, 0, fmt.Errorf("host status %#x: %w", h.hostStatus, ErrUnsupported)
	case c.without:
		mid, high, err = registers(sense[:min(int(h.senseLen), len(sense))])
		return nil, mid, high, err
	case h.status == checkCondition:
		return nil, 0, 0, fmt.Errorf("command %#x refused: %w", c.command, ErrUnsupported)
	}
	return data, 0, 0, nil
}

// passThrough wraps a command into SCSI's ATA PASS-THROUGH (16).
func passThrough(c ataCommand) []byte {
	const (
		opcode             = 0x85
		noData, pioIn      = 3 << 1, 4 << 1
		wantRegisters      = 1 << 5
		fromDevice, blocks = 1 << 3, 1 << 2
		lengthInCount      = 2
	)
	b := make([]byte, 16)
	b[0], b[1], b[2] = opcode, pioIn, fromDevice|blocks|lengthInCount
	if c.without {
		b[1], b[2] = noData, wantRegisters
	} else {
		b[6] = 1
	}
	if c.extended {
		b[1] |= 1
	}
	b[4], b[8], b[10], b[12], b[14] = c.feature, c.low, c.mid, c.high, c.command
	return b
}

var errNoRegisters = errors.New("disk's registers are not in the answer")

// registers finds LBA mid and high in sense data of either format.
func registers(sense []byte) (mid, high byte, err error) {
	const fixed, descriptors, ataReturn, ataReturnLen = 0x70, 0x72, 0x09, 14
	switch {
	case len(sense) >= 12 && sense[0]&0x7f == fixed:
		return sense[10], sense[11], nil
	case len(sense) >= 8 && sense[0]&0x7f == descriptors:
		for d := sense[8:]; len(d) >= 2; {
			if d[0] == ataReturn && len(d) >= ataReturnLen {
				return d[9], d[11], nil
			}
			d = d[min(len(d), 2+int(d[1])):]
		}
	}
	return 0, 0, errNoRegisters
}

// nvmeDevice is the file of an NVMe namespace.
type nvmeDevice uintptr

// nvmeCommand is struct nvme_passthru_cmd.
type nvmeCommand struct {
	opcode, flags uint8
	_             uint16
	namespace     uint32
	cdw2, cdw3    uint32
	metadata      uint64
	data          unsafe.Pointer
	metadataLen   uint32
	dataLen       uint32
	cdw10, cdw11  uint32
	cdw12, cdw13  uint32
	cdw14, cdw15  uint32
	timeout       uint32 // ms
	result        uint32
}

func (d nvmeDevice) identify() ([]byte, error) {
	const opcode, controller, size = 0x06, 1, 4096
	return d.read(nvmeCommand{opcode: opcode, cdw10: controller}, size)
}

func (d nvmeDevice) health() ([]byte, error) {
	const opcode, log, all, size = 0x02, 0x02, 0xffffffff, 512
	return d.read(nvmeCommand{opcode: opcode, namespace: all, cdw10: log | (size/4-1)<<16}, size)
}

func (d nvmeDevice) read(c nvmeCommand, size int) ([]byte, error) {
	data := make([]byte, size)
	c.data, c.dataLen, c.timeout = unsafe.Pointer(&data[0]), uint32(size), sgTimeout
	err := ioctl(uintptr(d), nvmeAdminCmd, unsafe.Pointer(&c))
	runtime.KeepAlive(data)
	return data, err
}

// ioctl tells devices that do not know the request from those that failed.
func ioctl(fd, request uintptr, arg unsafe.Pointer) error {
	status, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(arg))
	switch {
	case errno == unix.ENOTTY || errno == unix.EINVAL || errno == unix.EOPNOTSUPP:
		return fmt.Errorf("%w: %w", ErrUnsupported, errno)
	case errno != 0:
		return errno
	case request == nvmeAdminCmd && status != 0:
		return fmt.Errorf("NVMe status %#x: %w", status, ErrUnsupported)
	}
	return nil
}
