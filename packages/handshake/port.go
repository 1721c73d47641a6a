package handshake

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Port is a TCP port that is taken but closed: nobody else can have it, and
// clients are refused, until it listens. Taking it may need privileges that
// listening does not.
type Port struct {
	file *os.File
	addr string
}

// Bind takes a port on all addresses, or on the one named.
func Bind(ctx context.Context, address string) (*Port, error) {
	addr, err := net.DefaultResolver.LookupPort(ctx, "tcp", portOf(address))
	if err != nil {
		return nil, fmt.Errorf("bind %s: %w", address, err)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("bind %s: %w", address, err)
	}
	tcp := &net.TCPAddr{IP: net.ParseIP(host), Port: addr}
	if host != "" && tcp.IP == nil {
		return nil, fmt.Errorf("bind %s: %q is no IP address", address, host)
	}
	p := &Port{addr: address}
	if p.file, err = bind(tcp); err != nil {
		return nil, fmt.Errorf("bind %s: %w", address, err)
	}
	return p, nil
}

func portOf(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return port
}

// bind makes the socket: one for both families where no address is named, unless
// the kernel has only one.
func bind(addr *net.TCPAddr) (*os.File, error) {
	family, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: addr.Port})
	if ip := addr.IP.To4(); ip != nil {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(ip)}
	} else if addr.IP != nil {
		sa = &unix.SockaddrInet6{Port: addr.Port, Addr: [16]byte(addr.IP)}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err == unix.EAFNOSUPPORT && addr.IP == nil {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: addr.Port}
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	}
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil && family == unix.AF_INET6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
	}
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return os.NewFile(uintptr(fd), "https port"), nil
}

// Close gives a port up that never listened.
func (p *Port) Close() error { return p.file.Close() }

// listen opens the port.
func (p *Port) listen() (*net.TCPListener, error) {
	raw, err := p.file.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", p.addr, err)
	}
	var listenErr error
	if err := raw.Control(func(fd uintptr) { listenErr = syscall.Listen(int(fd), unix.SOMAXCONN) }); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", p.addr, err)
	}
	if listenErr != nil {
		return nil, fmt.Errorf("listen on %s: %w", p.addr, os.NewSyscallError("listen", listenErr))
	}
	defer p.file.Close() // the listener has a copy
	l, err := net.FileListener(p.file)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", p.addr, err)
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("listen on %s: not TCP", p.addr)
	}
	return tcp, nil
}

// Addr returns the port's address, with the number that the kernel chose if none
// was asked for.
func (p *Port) Addr() (netip.AddrPort, error) {
	raw, err := p.file.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address of port: %w", err)
	}
	var sa unix.Sockaddr
	var nameErr error
	if err := raw.Control(func(fd uintptr) { sa, nameErr = unix.Getsockname(int(fd)) }); err != nil || nameErr != nil {
		return netip.AddrPort{}, fmt.Errorf("address of port: %w", errors.Join(err, nameErr))
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)), nil
	}
	return netip.AddrPort{}, errors.New("address of port: not IP")
}
