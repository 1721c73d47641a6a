package netd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"micromirror/packages/daemon"
	"micromirror/packages/netd/dhcp"
	"micromirror/packages/netd/router"
	"micromirror/packages/netd/sysctl"
	"micromirror/packages/netd/uplink"
)

// manager holds all state in one goroutine; sources send it what they learn.
type manager struct {
	config   Config // in force
	fallback fallback
	env      Env
	kernel   *kernel

	port    uplink.NIC // the uplink; Index 0 means none yet
	sources map[Source]part
	waiting map[Source]bool // sources that have not spoken yet
	stop    context.CancelFunc
	kicks   []chan struct{}

	claims    map[netip.Addr]*claim
	answers   chan claimed
	sourceCtx context.Context // of what runs for the present uplink

	names    names
	rules    rules
	neighbor neighbor
	gateways map[netip.Addr]*gateway
	probeDue bool // the gateways are to be asked again
	state    State
	lastErr  string
	said     map[netip.Prefix]bool // addresses announced on the console
	retried  map[netip.Prefix]time.Time
}

// update is what a source has learned.
type update struct {
	port   int // the port it was learned on
	source Source
	part   part
}

// Intervals of what no event announces.
const (
	lookEvery  = 5 * time.Second  // drift, gateways
	retryAfter = 60 * time.Second // an address that was a duplicate
)

func (m *manager) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	happened, err := events(ctx, g, m.env.Log)
	if err != nil {
		return err
	}
	m.said, m.retried, m.gateways = map[netip.Prefix]bool{}, map[netip.Prefix]time.Time{}, map[netip.Addr]*gateway{}
	m.answers, m.names.heard = make(chan claimed), make(chan map[netip.Addr]bool)
	g.Go(func() error { return m.loop(ctx, g, happened) })
	return g.Wait()
}

func (m *manager) loop(ctx context.Context, g *errgroup.Group, happened <-chan struct{}) error {
	updates := make(chan update)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		if m.choose() || m.reconsider(time.Now()) {
			m.start(ctx, g, updates)
		}
		m.reconcile(time.Now())
		m.askNames(ctx, g, time.Now())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case u := <-updates:
			if u.port == m.kernel.index {
				m.sources[u.source] = u.part
				delete(m.waiting, u.source)
			}
		case silent := <-m.names.heard:
			m.hearNames(silent)
		case a := <-m.answers:
			m.answer(time.Now(), a)
		case <-happened:
			sleep(ctx, settle)
		case <-look.C:
			m.probeDue = true
			m.guard()
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// choose looks at the ports and reports whether the uplink is a new one. A
// chosen port keeps its role while it exists and has carrier, or nobody has.
func (m *manager) choose() bool {
	nics, err := uplink.List(m.kernel.h, m.env.Sys)
	if err != nil {
		m.fail(err)
		return false
	}
	for _, n := range nics {
		if err := m.watch(n); err != nil {
			m.fail(err)
		}
	}
	m.state.Ports = describePorts(nics)
	all := nics
	if nics, err = m.join(nics); err != nil {
		m.fail(err)
	}
	if i := slices.IndexFunc(nics, func(n uplink.NIC) bool { return n.Index == m.port.Index }); i >= 0 {
		m.carrier(nics[i])
		if m.port.Carrier || !slices.ContainsFunc(nics, func(n uplink.NIC) bool { return n.Carrier }) {
			return false
		}
	}
	best, ok := uplink.Choose(nics, m.config.Roles)
	if !ok || best.Index == m.port.Index {
		return false
	}
	for _, n := range all {
		if n.Index != best.Index {
			m.fail(m.kernel.clear(n.Index))
		}
	}
	if err := m.adopt(best); err != nil {
		m.fail(err)
		return false
	}
	return true
}

// wake switches all ports on at the start, because a port takes seconds to agree
// with the switch on a speed. Without addresses, and IPv6 still off, nothing can
// be reached through them.
func (m *manager) wake() {
	nics, err := uplink.List(m.kernel.h, m.env.Sys)
	if err != nil {
		m.env.Log.Error("list network ports", "err", err)
		return
	}
	if err := errors.Join(spread(m.env.Sys, nics, runtime.NumCPU()), pin(m.env.Sys, nics, runtime.NumCPU())); err != nil {
		m.env.Log.Warn("the processors do not share the work", "err", err)
	}
	for _, n := range nics {
		if err := m.watch(n); err != nil {
			m.env.Log.Warn("network port", "err", err)
		}
	}
}

// watch switches a port on, so that its carrier can be seen.
func (m *manager) watch(n uplink.NIC) error {
	l, err := m.kernel.h.LinkByIndex(n.Index)
	if err != nil {
		return fmt.Errorf("watch %s: %w", n.Name, err)
	}
	if l.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	if n.Index != m.port.Index {
		if err := m.kernel.quiet(n.Name, true); err != nil {
			return fmt.Errorf("watch %s: %w", n.Name, err)
		}
	}
	m.rings(n.Name)
	if err := m.kernel.h.LinkSetUp(l); err != nil {
		return fmt.Errorf("switch on %s: %w", n.Name, err)
	}
	return nil
}

// carrier notes whether the uplink's cable is in, and confirms everything when
// it was out, however short.
func (m *manager) carrier(now uplink.NIC) {
	if now.Carrier && now.Changes != m.port.Changes {
		daemon.Notice(m.env.Log, "link is up", "port", now.Name)
		for _, k := range m.kicks {
			select {
			case k <- struct{}{}:
			default:
			}
		}
	}
	if !now.Carrier && m.port.Carrier {
		m.env.Log.Warn("link is down: check the cable", "port", now.Name, "mac", now.MAC.String())
	}
	m.port = now
}

// adopt makes a port the uplink.
func (m *manager) adopt(n uplink.NIC) error {
	index, err := m.tag(n)
	if err != nil {
		return err
	}
	n.Name = Uplink
	for _, f := range sysctl.Apply(m.kernel.proc, sysctl.Interface(Uplink)) {
		m.env.Log.Warn("kernel parameter not set", "parameter", f.String())
	}
	daemon.Notice(m.env.Log, "uplink "+Uplink, "mac", n.MAC.String(), "driver", n.Driver, "bus", n.Bus, "carrier", n.Carrier)
	m.port, m.kernel.index = n, index
	return nil
}

// reconsider changes to another configuration if the one in force does not work,
// and reports whether it did.
func (m *manager) reconsider(now time.Time) bool {
	answered := false
	for addr, gw := range m.gateways {
		answered = answered || gw.reachable && (m.fallback.mode != Rescue || m.config.own(addr))
	}
	changed, err := m.fallback.step(now, m.port.Carrier, answered)
	if err != nil {
		m.env.Log.Error("fallback", "err", err)
	}
	if !changed || m.port.Index == 0 {
		return false
	}
	before := m.config
	m.config = m.fallback.effective()
	if before.VLAN != m.config.VLAN || !slices.Equal(before.Bond, m.config.Bond) {
		m.port = uplink.NIC{} // the uplink is made of other things
		m.choose()
	}
	m.state.Mode, m.state.Firewall.Applied = m.fallback.mode, false
	m.gateways = map[netip.Addr]*gateway{}
	m.guard()
	switch m.fallback.mode {
	case Configured:
		daemon.Notice(m.env.Log, "network as configured again")
	case Previous:
		m.env.Log.Error("no gateway of the new configuration answers, going back to the last that worked")
	case Rescue:
		m.env.Log.Error("no gateway answers: check addresses and gateway; trying DHCP to fetch a corrected node file")
	}
	return true
}

// start lets the sources learn about a new uplink.
func (m *manager) start(ctx context.Context, g *errgroup.Group, updates chan<- update) {
	if m.stop != nil {
		m.stop()
	}
	ctx, m.stop = context.WithCancel(ctx)
	m.sourceCtx, m.claims = ctx, map[netip.Addr]*claim{}
	index := m.kernel.index
	m.sources, m.waiting, m.kicks, m.neighbor.kick = map[Source]part{Static: m.config.static()}, map[Source]bool{}, nil, make(chan struct{}, 1)
	publish := func(s Source, p part) {
		select {
		case updates <- update{port: index, source: s, part: p}:
		case <-ctx.Done():
		}
	}
	launch := func(s Source, run func(kick <-chan struct{}) error) {
		kick := make(chan struct{}, 1)
		m.kicks, m.waiting[s] = append(m.kicks, kick), true
		g.Go(func() error {
			if err := run(kick); ctx.Err() == nil {
				return err
			}
			return nil
		})
	}
	m.tellSwitch(ctx, g, m.port.Index)
	dynamic := m.config.DHCP || m.fallback.mode == Rescue
	if dynamic {
		launch(DHCP, func(kick <-chan struct{}) error {
			c := dhcp.Client{Exchange: dhcp.Wire{Interface: Uplink, Hostname: m.config.Hostname}, Kick: kick, Log: m.env.Log}
			return c.Run(ctx, func(l *dhcp.Lease) { publish(DHCP, fromLease(l)) })
		})
	}
	if wanted := dynamic || m.config.routers(); wanted || m.config.has6() {
		launch(Router, func(kick <-chan struct{}) error {
			c := router.Client{Index: index, Kick: kick, Log: m.env.Log}
			return c.Run(ctx, func(s router.State) {
				p := fromRouters(s, mac(index), dynamic)
				if !wanted {
					p = p.advice()
				}
				publish(Router, p)
			})
		})
		if !wanted { // nothing of it is ever taken back
			delete(m.waiting, Router)
		}
	}
}

// reconcile makes the kernel agree with the sources and tells the world.
func (m *manager) reconcile(now time.Time) {
	if m.port.Index == 0 {
		m.fail(errors.New("no network port found"))
		m.publish(part{}, observed{})
		return
	}
	want := merge(m.dead, m.sources[Static], m.sources[DHCP], m.sources[Router])
	have, err := m.kernel.observe()
	if err != nil {
		m.fail(err)
		return
	}
	have = m.dropConflicts(now, have)
	p := compare(now, want, have, m.waiting)
	p = m.hold(now, p, have)
	if !p.empty() {
		m.explain(p)
		err = m.kernel.apply(now, p)
		if again, e := m.kernel.observe(); e == nil {
			have = again
		}
	}
	m.fail(err)
	m.trackGateways(now, want)
	m.publish(want, have)
}

// dropConflicts hides addresses that somebody else had a minute ago, so that
// they are tried again: the other machine may be gone.
func (m *manager) dropConflicts(now time.Time, have observed) observed {
	have.addresses = slices.DeleteFunc(have.addresses, func(a kernelAddress) bool {
		if !a.conflict() || now.Sub(m.retried[a.prefix]) < retryAfter {
			return false
		}
		m.env.Log.Error("address is in use by another machine", "address", a.prefix.String())
		m.retried[a.prefix] = now
		return m.kernel.forget(a.prefix) == nil
	})
	return have
}

// explain logs a repair: an address or route that had been there is missing.
func (m *manager) explain(p plan) {
	for _, a := range p.setAddresses {
		if m.said[a.prefix] && a.valid.IsZero() {
			m.env.Log.Warn("address was gone, restoring it", "address", a.prefix.String())
		}
	}
	for _, a := range p.delAddresses {
		m.env.Log.Info("removing address", "address", a.String())
		delete(m.said, a)
	}
}

// fail logs an error once until it changes.
func (m *manager) fail(err error) {
	text := ""
	if err != nil {
		text = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	if text != m.lastErr && text != "" {
		m.env.Log.Warn("network not as configured", "err", text)
	}
	m.lastErr = text
	m.state.Error = text
}
