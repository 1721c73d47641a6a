// Package netd brings the node onto its network and keeps it there.
//
// It finds the port that leads to the world (package uplink) or makes it of
// several (802.3ad bond) or of a VLAN, names it wan0, gives it the addresses, gateways and name servers of the node file, or those
// that DHCP and router advertisements offer, sets the kernel parameters of a
// mirror server, and then watches: whatever somebody or something changes is
// put right within a second, a link that comes back is asked for its lease and
// routers again, a gateway that stops answering moves behind the others. Only
// what netd put there is ever removed, and at start nothing is before each
// source has spoken, so a restart does not interrupt a single connection.
//
// A configuration whose gateway does not answer is not the end: a new one goes
// back to the last that worked, and before any has worked, DHCP and router
// advertisements are tried beside it so that a corrected one can be fetched.
//
// The firewall (package firewall) is up before the first link, and put back if it
// is missing.
//
// Name servers that answer come first; while none of those that the node file gives
// does, those that the network offers help out, and then those of last resort, if
// the fleet file has any.
//
// The switch is told by LLDP who is at its port (package lldp).
//
// Failure: what the kernel refuses is reported and tried again; one address
// family serves on without the other; on exit everything stays configured.
//
// Files: <working> (the last configuration that worked), <run>/resolv.conf
// (name servers, replaced whole; /etc/resolv.conf of the image leads there),
// <run>/state.json (a State; read by the health checks and the console). Ports: UDP 67/68 and ICMPv6 while asking.
//
// Console: "address A on wan0 gateway G" once for each address in use.
package netd

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"micromirror/packages/netd/firewall"
	"micromirror/packages/netd/sysctl"
	"micromirror/packages/netd/uplink"
)

// Uplink is the name of the port that leads to the world.
const Uplink = "wan0"

// Config is what the node should be on the network.
type Config struct {
	Hostname  string         // sent to DHCP servers
	FullName  string         // told to the neighbouring switch, with the next
	About     string         // line about node and host
	DHCP      bool           // DHCPv4 and router advertisements instead of addresses
	Addresses []netip.Prefix // each with its subnet's prefix length
	Gateways  []netip.Addr   // best first for each family
	DNS       []netip.Addr
	LastDNS   []netip.Addr  // asked only while no other name server answers
	MTU       int           // 0: what the network says, or 1500
	VLAN      int           // 802.1Q number of the uplink's network; 0: untagged
	Bond      []uplink.Role // which ports form one 802.3ad link; none: no bond
	Roles     []uplink.Role // which ports may be the uplink, best first
	Firewall  firewall.Config
}

// Env is the system that netd works on.
type Env struct {
	Proc string // /proc/sys
	Sys  string // /sys
	Run  string // directory for resolv.conf and state.json
	// Working is the file of the last configuration that worked; empty keeps none.
	Working string
	// Patience is how long a configuration may be without an answer before
	// another is tried; zero for the usual minutes.
	Patience time.Duration
	Log      *slog.Logger
	// Ready, if not nil, is called when everything that needs more than the
	// network's capabilities is done: the place to enter a sandbox.
	Ready func() error
}

// routers reports whether router advertisements are wanted: without static
// addresses for all of IPv6, or to find the gateway for them.
func (c *Config) routers() bool {
	if c.DHCP {
		return true
	}
	is6 := func(a netip.Addr) bool { return a.Is6() }
	return c.has6() && !slices.ContainsFunc(c.Gateways, is6)
}

// own reports whether an address is one of the configuration's gateways, rather
// than one that only a rescue has found.
func (c *Config) own(gateway netip.Addr) bool {
	return c.DHCP || slices.Contains(c.Gateways, gateway) || gateway.Is6() && c.routers()
}

// has6 reports whether there are static addresses of IPv6.
func (c *Config) has6() bool {
	return slices.ContainsFunc(c.Addresses, func(p netip.Prefix) bool { return p.Addr().Is6() })
}

// Run keeps the network as configured until ctx ends.
func Run(ctx context.Context, c Config, env Env) error {
	if err := os.MkdirAll(env.Run, 0o755); err != nil {
		return fmt.Errorf("netd: %w", err)
	}
	// Without the family named the library opens them all, also those whose
	// modules the image does not carry.
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netd: %w", err)
	}
	defer h.Close()
	failures := sysctl.Apply(env.Proc, sysctl.Mirror())
	for _, f := range failures {
		env.Log.Warn("kernel parameter not set", "parameter", f.String())
	}
	k := &kernel{h: h, proc: env.Proc}
	if err := k.loopback(); err != nil {
		env.Log.Error("no loopback", "err", err)
	}
	m := &manager{config: c, fallback: fallback{file: env.Working, patience: cmp.Or(env.Patience, patience), given: c}, env: env, kernel: k, state: State{Mode: Configured, Uplink: Uplink, Parameters: describeFailures(failures)}}
	m.wake()
	if env.Ready != nil {
		if err := env.Ready(); err != nil {
			return err
		}
	}
	m.fallback.given.Firewall, m.state.Firewall.Problems = c.Firewall.Check()
	m.config = m.fallback.given
	for _, p := range m.state.Firewall.Problems {
		env.Log.Warn("firewall list entry left out", "entry", p)
	}
	if err := m.fallback.open(); err != nil {
		env.Log.Warn("starting without a fallback", "err", err)
	}
	m.guard()
	return m.run(ctx)
}

func describeFailures(list []sysctl.Failure) []string {
	var out []string
	for _, f := range list {
		out = append(out, f.String())
	}
	return out
}

// events subscribes to what happens to links, addresses and routes, and reports
// each as an item of the returned channel; several at once become one.
// Neighbours are left out: a scan of the subnet would flood us.
func events(ctx context.Context, g *errgroup.Group, log *slog.Logger) (<-chan struct{}, error) {
	links, addrs := make(chan netlink.LinkUpdate, 64), make(chan netlink.AddrUpdate, 64)
	routes := make(chan netlink.RouteUpdate, 64)
	report := func(err error) {
		if ctx.Err() == nil {
			log.Warn("netlink event lost", "err", err)
		}
	}
	if err := netlink.LinkSubscribeWithOptions(links, ctx.Done(), netlink.LinkSubscribeOptions{ErrorCallback: report}); err != nil {
		return nil, fmt.Errorf("watch links: %w", err)
	}
	if err := netlink.AddrSubscribeWithOptions(addrs, ctx.Done(), netlink.AddrSubscribeOptions{ErrorCallback: report}); err != nil {
		return nil, fmt.Errorf("watch addresses: %w", err)
	}
	if err := netlink.RouteSubscribeWithOptions(routes, ctx.Done(), netlink.RouteSubscribeOptions{ErrorCallback: report}); err != nil {
		return nil, fmt.Errorf("watch routes: %w", err)
	}
	out := make(chan struct{}, 1)
	g.Go(func() error { return collect(ctx, links, addrs, routes, out) })
	return out, nil
}

// collect returns an error when the kernel's events end: without them drift is
// still found by the regular look, but restarting is better.
func collect(ctx context.Context, links <-chan netlink.LinkUpdate, addrs <-chan netlink.AddrUpdate,
	routes <-chan netlink.RouteUpdate, out chan<- struct{}) error {
	for {
		ok := true
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, ok = <-links:
		case _, ok = <-addrs:
		case _, ok = <-routes:
		}
		if !ok {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("netlink events ended")
		}
		select {
		case out <- struct{}{}:
		default:
		}
	}
}

// settle is how long a burst of events may last before it is looked at.
const settle = 30 * time.Millisecond

// mac is the address of an interface by index, as it is now.
func mac(index int) net.HardwareAddr {
	ifi, err := net.InterfaceByIndex(index)
	if err != nil {
		return nil
	}
	return ifi.HardwareAddr
}
