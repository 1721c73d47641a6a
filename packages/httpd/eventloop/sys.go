package eventloop

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"micromirror/packages/tlsrecord"
)

// The calls below go straight to the kernel without telling Go's scheduler, which
// costs as much as a short call itself, and wakes Go's monitor thread again and
// again. They do not block, or not for long.

func rawRead(fd int, p []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), e
}

func rawSend(fd int, p []byte, flags int) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		uintptr(flags|unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT), 0, 0)
	return int(n), e
}

func rawClose(fd int) {
	syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

func rawAccept(fd int, sa *unix.RawSockaddrAny) (int, syscall.Errno) {
	size := uint32(unix.SizeofSockaddrAny)
	n, _, e := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(sa)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int(n), e
}

// rawPoll waits for events, a few milliseconds at most. Should the runtime want
// to stop this thread meanwhile, its signal ends the call.
func rawPoll(fd int, events []unix.EpollEvent, milliseconds int) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(events))),
		uintptr(len(events)), uintptr(milliseconds), 0, 0)
	return int(n), e
}

func control(epoll, op, fd int, ev *unix.EpollEvent) syscall.Errno {
	_, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epoll), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(ev)), 0, 0)
	return e
}

// sendFile sends pages that are in memory.
func sendFile(sock, file int, off *int64, n int) (int, syscall.Errno) {
	r, _, e := syscall.RawSyscall6(unix.SYS_SENDFILE, uintptr(sock), uintptr(file), uintptr(unsafe.Pointer(off)), uintptr(n), 0, 0)
	return int(r), e
}

// sendFileSlowly may read the disk, so the scheduler is told.
func sendFileSlowly(sock, file int, off *int64, n int) (int, syscall.Errno) {
	r, _, e := syscall.Syscall6(unix.SYS_SENDFILE, uintptr(sock), uintptr(file), uintptr(unsafe.Pointer(off)), uintptr(n), 0, 0)
	return int(r), e
}

// readParts reads pages that are in memory into several places.
func readParts(file int, parts [][]byte, off int64) (int, syscall.Errno) {
	var iov [burst / tlsrecord.MaxPlain]unix.Iovec
	for i, p := range parts {
		iov[i] = unix.Iovec{Base: &p[0], Len: uint64(len(p))}
	}
	n, _, e := syscall.RawSyscall6(unix.SYS_PREADV, uintptr(file), uintptr(unsafe.Pointer(&iov[0])), uintptr(len(parts)), uintptr(off), 0, 0)
	return int(n), e
}

// resident says whether the page at off can be sent without reading the disk. A
// file system that cannot tell is taken at its best.
func resident(file int, off int64) bool {
	var b [1]byte
	iov := unix.Iovec{Base: &b[0], Len: 1}
	_, _, e := syscall.RawSyscall6(unix.SYS_PREADV2, uintptr(file), uintptr(unsafe.Pointer(&iov)), 1,
		uintptr(off), 0, unix.RWF_NOWAIT)
	return e != unix.EAGAIN
}
