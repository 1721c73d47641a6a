package dhcp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Lease is what a server granted, checked.
type Lease struct {
	Address  netip.Prefix
	Gateways []netip.Addr // default routers, best first
	Routes   []Route      // further routes
	DNS      []netip.Addr
	MTU      int // 0: the server says nothing

	Renew, Rebind, Expire time.Duration // since the lease was asked for
}

// Route is a route that is not the default. An invalid gateway means that the
// destination is on the link itself.
type Route struct {
	Dst     netip.Prefix
	Gateway netip.Addr
}

// Bounds of what a server may say.
const (
	minLease   = time.Minute
	maxLease   = 365 * 24 * time.Hour
	maxServers = 3
	maxRoutes  = 32
	minMTU     = 576
)

// Parse reads a server's acknowledgement.
func Parse(ack *dhcpv4.DHCPv4) (Lease, error) {
	if ack == nil {
		return Lease{}, errors.New("dhcp: no acknowledgement")
	}
	addr, ok := unicast(ack.YourIPAddr)
	if !ok {
		return Lease{}, fmt.Errorf("dhcp: offered address %v is no host's", ack.YourIPAddr)
	}
	bits, err := maskBits(ack.SubnetMask(), addr)
	if err != nil {
		return Lease{}, err
	}
	l := Lease{Address: netip.PrefixFrom(addr, bits), DNS: hosts(ack.DNS(), maxServers)}
	l.addRoutes(ack)
	l.setTimes(ack)
	if mtu, err := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, ack.Options); err == nil && mtu >= minMTU {
		l.MTU = int(mtu)
	}
	return l, nil
}

// maskBits turns the mask into a prefix length; without one the address's old
// class decides, as RFC 2132 has it.
func maskBits(mask net.IPMask, addr netip.Addr) (int, error) {
	if mask == nil {
		mask = net.IP(addr.AsSlice()).DefaultMask()
	}
	ones, size := mask.Size()
	if size != 32 || ones == 0 {
		return 0, fmt.Errorf("dhcp: offered mask %v is none", mask)
	}
	return ones, nil
}

// addRoutes prefers option 121: RFC 3442 says to ignore the routers beside it.
func (l *Lease) addRoutes(ack *dhcpv4.DHCPv4) {
	classless := ack.ClasslessStaticRoute()
	for _, r := range classless[:min(len(classless), maxRoutes)] {
		if r == nil || r.Dest == nil {
			continue
		}
		ones, size := r.Dest.Mask.Size()
		dst, ok := netip.AddrFromSlice(r.Dest.IP.To4())
		if !ok || size != 32 {
			continue
		}
		gw, unicastGW := unicast(r.Router)
		switch {
		case ones == 0 && unicastGW:
			l.Gateways = append(l.Gateways, gw)
		case ones > 0 && (unicastGW || r.Router.IsUnspecified()):
			l.Routes = append(l.Routes, Route{Dst: netip.PrefixFrom(dst, ones).Masked(), Gateway: gw})
		}
	}
	if len(classless) == 0 {
		l.Gateways = hosts(ack.Router(), maxServers)
	}
}

// setTimes bounds the times and puts them in order.
func (l *Lease) setTimes(ack *dhcpv4.DHCPv4) {
	l.Expire = min(max(ack.IPAddressLeaseTime(time.Hour), minLease), maxLease)
	l.Renew = ack.IPAddressRenewalTime(l.Expire / 2)
	l.Rebind = ack.IPAddressRebindingTime(l.Expire * 7 / 8)
	if l.Renew < minLease/2 || l.Renew >= l.Rebind || l.Rebind >= l.Expire {
		l.Renew, l.Rebind = l.Expire/2, l.Expire*7/8
	}
}

// unicast returns the address if a host can have it.
func unicast(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip.To4())
	if !ok || !a.IsGlobalUnicast() || a.As4()[0] == 0 || a.As4()[0] >= 224 {
		return netip.Addr{}, false
	}
	return a, true
}

func hosts(ips []net.IP, limit int) []netip.Addr {
	var out []netip.Addr
	for _, ip := range ips {
		if a, ok := unicast(ip); ok && len(out) < limit {
			out = append(out, a)
		}
	}
	return out
}
