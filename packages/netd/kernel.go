package netd

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"micromirror/packages/netd/uplink"
)

// kernel carries plans out over netlink.
type kernel struct {
	h     *netlink.Handle
	proc  string // /proc/sys
	index int    // of the uplink
}

var protocols = map[Source]netlink.RouteProtocol{Static: unix.RTPROT_STATIC, DHCP: unix.RTPROT_DHCP, Router: unix.RTPROT_RA}

func toIPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func fromIPNet(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	addr, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	if addr.Is4In6() {
		addr = addr.Unmap()
	}
	return netip.PrefixFrom(addr, ones)
}

// interrupted ignores that a list changed while it was read: the change itself
// is an event that makes us read it again.
func interrupted(err error) error {
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil
	}
	return err
}

// observe reads the uplink's addresses, our routes and its MTU.
func (k *kernel) observe() (observed, error) {
	l, err := k.h.LinkByIndex(k.index)
	if err != nil {
		return observed{}, fmt.Errorf("observe uplink: %w", err)
	}
	out := observed{mtu: l.Attrs().MTU}
	if b, err := os.ReadFile(k.mtu6Path(l)); err == nil {
		out.mtu6, _ = strconv.Atoi(strings.TrimSpace(string(b))) // 0 if IPv6 is off
	}
	addrs, err := k.h.AddrList(l, netlink.FAMILY_ALL)
	if err := interrupted(err); err != nil {
		return observed{}, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		ka := kernelAddress{prefix: fromIPNet(a.IPNet), flags: a.Flags}
		if uint32(a.ValidLft) != math.MaxUint32 {
			ka.valid = time.Duration(a.ValidLft) * time.Second
		}
		out.addresses = append(out.addresses, ka)
	}
	out.routes, err = k.routes()
	return out, err
}

func (k *kernel) mtu6Path(l netlink.Link) string {
	return k.proc + "/net/ipv6/conf/" + l.Attrs().Name + "/mtu"
}

// routes lists what netd made: routes of the kernel and of nobody are not ours.
func (k *kernel) routes() ([]route, error) {
	filter := &netlink.Route{LinkIndex: k.index, Table: unix.RT_TABLE_MAIN}
	list, err := k.h.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
	if err := interrupted(err); err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var out []route
	for _, r := range list {
		for source, proto := range protocols {
			if r.Protocol == proto {
				out = append(out, fromKernelRoute(r, source))
			}
		}
	}
	return out, nil
}

func fromKernelRoute(r netlink.Route, source Source) route {
	gw, _ := netip.AddrFromSlice(r.Gw)
	out := route{gateway: gw.Unmap(), onLink: r.Flags&unix.RTNH_F_ONLINK != 0, metric: r.Priority, source: source}
	switch {
	case r.Dst != nil:
		out.dst = fromIPNet(r.Dst)
	case r.Family == unix.AF_INET6:
		out.dst = defaultFor(netip.IPv6Unspecified())
	default:
		out.dst = defaultFor(netip.IPv4Unspecified())
	}
	return out
}

// apply carries a plan out as far as it goes.
func (k *kernel) apply(now time.Time, p plan) error {
	l, err := k.h.LinkByIndex(k.index)
	if err != nil {
		return fmt.Errorf("change uplink: %w", err)
	}
	var errs []error
	note := func(err error, format string, args ...any) {
		if err != nil {
			errs = append(errs, fmt.Errorf(format+": %w", append(args, err)...))
		}
	}
	if p.mtu != 0 {
		note(k.h.LinkSetMTU(l, p.mtu), "set mtu %d", p.mtu)
	}
	if p.mtu6 != 0 {
		note(os.WriteFile(k.mtu6Path(l), []byte(strconv.Itoa(p.mtu6)), 0), "set IPv6 mtu %d", p.mtu6)
	}
	for _, a := range p.setAddresses {
		note(k.h.AddrReplace(l, kernelAddr(now, a)), "add address %v", a.prefix)
	}
	for _, r := range p.setRoutes {
		note(k.h.RouteReplace(k.kernelRoute(r)), "add route %v via %v", r.dst, r.gateway)
	}
	for _, r := range p.delRoutes {
		note(gone(k.h.RouteDel(k.kernelRoute(r))), "remove route %v via %v", r.dst, r.gateway)
	}
	for _, a := range p.delAddresses {
		note(gone(k.h.AddrDel(l, &netlink.Addr{IPNet: toIPNet(a)})), "remove address %v", a)
	}
	return errors.Join(errs...)
}

// gone makes removing what is not there a success.
func gone(err error) error {
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func kernelAddr(now time.Time, a address) *netlink.Addr {
	out := &netlink.Addr{IPNet: toIPNet(a.prefix)}
	if a.host {
		out.Flags = unix.IFA_F_NOPREFIXROUTE
	}
	if !a.valid.IsZero() {
		out.ValidLft = seconds(a.valid.Sub(now), 1)
		out.PreferedLft = seconds(a.preferred.Sub(now), 0)
	}
	return out
}

func seconds(d time.Duration, least int) int {
	return min(max(int(d/time.Second), least), math.MaxInt32)
}

func (k *kernel) kernelRoute(r route) *netlink.Route {
	out := &netlink.Route{
		LinkIndex: k.index, Dst: toIPNet(r.dst), Priority: r.metric,
		Protocol: protocols[r.source], Table: unix.RT_TABLE_MAIN,
	}
	switch {
	case r.gateway.IsValid():
		out.Gw = r.gateway.AsSlice()
	case r.dst.Addr().Is4():
		out.Scope = netlink.SCOPE_LINK
	}
	if r.onLink {
		out.Flags = int(netlink.FLAG_ONLINK)
	}
	return out
}

// name gives a port the uplink's name. Whoever has that name loses it.
func (k *kernel) name(n uplink.NIC, name string) error {
	if n.Name == name {
		return nil
	}
	if old, err := k.h.LinkByName(name); err == nil {
		if err := k.rename(old, fmt.Sprintf("nic%d", old.Attrs().Index)); err != nil {
			return err
		}
	}
	l, err := k.h.LinkByIndex(n.Index)
	if err != nil {
		return fmt.Errorf("name uplink: %w", err)
	}
	return k.rename(l, name)
}

// rename renames a port; kernels before 6.2 want it down meanwhile.
func (k *kernel) rename(l netlink.Link, name string) error {
	err := k.h.LinkSetName(l, name)
	if errors.Is(err, unix.EBUSY) {
		if err := k.h.LinkSetDown(l); err != nil {
			return fmt.Errorf("rename %s: %w", l.Attrs().Name, err)
		}
		err = k.h.LinkSetName(l, name)
	}
	if err != nil {
		return fmt.Errorf("rename %s to %s: %w", l.Attrs().Name, name, err)
	}
	return nil
}

// loopback makes sure that the daemons reach each other.
func (k *kernel) loopback() error {
	lo, err := k.h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	if err := k.h.LinkSetUp(lo); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return nil
}

// quiet keeps a port that is up only to watch its carrier from taking part in
// IPv6.
func (k *kernel) quiet(name string, on bool) error {
	value := []byte("0")
	if on {
		value = []byte("1")
	}
	err := os.WriteFile(k.proc+"/net/ipv6/conf/"+name+"/disable_ipv6", value, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// clear takes everything netd gives an uplink from a port that is none any more.
func (k *kernel) clear(index int) error {
	old := kernel{h: k.h, proc: k.proc, index: index}
	have, err := old.observe()
	if err != nil {
		return err
	}
	return old.apply(time.Time{}, compare(time.Time{}, part{}, have, nil))
}

// forget removes an address whatever its state.
func (k *kernel) forget(p netip.Prefix) error {
	l, err := k.h.LinkByIndex(k.index)
	if err != nil {
		return err
	}
	return gone(k.h.AddrDel(l, &netlink.Addr{IPNet: toIPNet(p)}))
}
