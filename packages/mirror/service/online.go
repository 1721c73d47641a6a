package service

import (
	"context"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/rsync/client"
)

// onlineLimit is how long the first runs wait for the network; then they fail
// and tell why.
const onlineLimit = 2 * time.Minute

// Online returns when the way to an rsync server is known: its name can be
// resolved and there is a route to it, which asking for a datagram's way finds
// out without sending one. After a boot the daemons start before the node has an
// address. The kernel tells of new addresses and routes; name servers are asked
// once a second.
func Online(ctx context.Context, server string, log *slog.Logger) {
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(server, client.Port)
	}
	ctx, cancel := context.WithTimeout(ctx, onlineLimit)
	defer cancel()
	news := changes(ctx, log)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "udp", server)
		if err == nil {
			c.Close()
			return
		}
		log.Debug("waiting for the network", "err", err)
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-tick.C:
		}
	}
}

// changes tells of new addresses and routes of this computer; without the
// kernel's help of none.
func changes(ctx context.Context, log *slog.Logger) <-chan struct{} {
	news := make(chan struct{}, 1)
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		log.Debug("no news of the network", "err", err)
		return news
	}
	groups := uint32(unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		log.Debug("no news of the network", "err", err)
		return news
	}
	go follow(ctx, fd, news)
	return news
}

// follow reads the kernel's messages, of which it matters only that there are
// some, until the context ends.
func follow(ctx context.Context, fd int, news chan<- struct{}) {
	defer unix.Close(fd)
	buf := make([]byte, 64<<10)
	for ctx.Err() == nil {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 500); err != nil && err != unix.EINTR {
			return
		}
		if n, _ := unix.Read(fd, buf); n <= 0 {
			continue
		}
		select {
		case news <- struct{}{}:
		default:
		}
	}
}
