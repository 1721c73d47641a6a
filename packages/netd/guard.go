package netd

import (
	"micromirror/packages/daemon"
	"micromirror/packages/netd/firewall"
)

// rules are the way to the firewall.
type rules struct {
	wall *firewall.Firewall
}

// guard makes sure that the firewall is up, and reads its counters. A kernel
// that refuses it is asked again at the next look; the node serves meanwhile,
// because nothing but its own daemons listens anyway.
func (m *manager) guard() {
	if m.rules.wall == nil {
		m.rules.wall = firewall.New()
	}
	s := &m.state.Firewall
	counters, err := m.rules.wall.Counters()
	if err == nil && (len(counters) == 0 || !s.Applied) {
		if s.Applied {
			m.env.Log.Warn("firewall was gone, restoring it")
		}
		if err = m.rules.wall.Apply(m.config.Firewall); err == nil {
			daemon.Notice(m.env.Log, "firewall is up", "rules", m.rules.wall.Rules())
		}
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != s.Error {
		m.env.Log.Error("firewall is not up", "err", err)
	}
	s.Applied, s.Rules, s.Error, s.Counters = err == nil, m.rules.wall.Rules(), text, counters
}
