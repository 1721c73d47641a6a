package netd

import (
	"context"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"micromirror/packages/netd/lldp"
)

// neighbor is what the switch at the uplink is told.
type neighbor struct {
	info atomic.Pointer[lldp.Info]
	kick chan struct{} // something has changed
}

// tellSwitch announces the node on an uplink. It is a courtesy: no failure of
// it ends anything.
func (m *manager) tellSwitch(ctx context.Context, g *errgroup.Group, index int) {
	m.describe()
	kick := m.neighbor.kick
	m.kicks = append(m.kicks, kick)
	g.Go(func() error {
		err := lldp.Run(ctx, index, kick, func() lldp.Info { return *m.neighbor.info.Load() })
		if ctx.Err() == nil {
			m.env.Log.Warn("the switch is not told who we are", "err", err)
		}
		return nil
	})
}

// describe keeps what the switch is told up to date.
func (m *manager) describe() {
	i := &lldp.Info{Port: Uplink, Name: m.config.FullName, Description: m.config.About}
	for _, a := range m.state.Addresses {
		if a.State == "ok" {
			i.Addresses = append(i.Addresses, a.Address.Addr())
		}
	}
	old := m.neighbor.info.Swap(i)
	if old == nil || slices.Equal(old.Addresses, i.Addresses) {
		return
	}
	select {
	case m.neighbor.kick <- struct{}{}:
	default:
	}
}
