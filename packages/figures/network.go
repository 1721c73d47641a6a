package figures

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"micromirror/packages/bench"
	"micromirror/packages/demo"
	"micromirror/packages/scenario"
	"micromirror/packages/vm"
)

// flaps is how often the cable is pulled, listening how long an idle node is
// listened to.
const (
	flaps     = 3
	listening = time.Minute
)

// network measures how long a node takes to its address and back to service after
// its cable was out, how many rules its firewall has, and what it sends when
// nobody asks it anything.
func network(ctx context.Context, o Options, dir string) (_ []Figure, err error) {
	demoDir := filepath.Join(o.Repository, "build", "demo")
	if err := demo.Build(ctx, demoDir, nil); err != nil {
		return nil, err
	}
	upstream, err := demo.Serve(ctx, demoDir, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer upstream.Close()
	work, err := os.MkdirTemp(filepath.Join(o.Repository, "build"), "figures-network")
	if err != nil {
		return nil, fmt.Errorf("figures: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	image, heard := filepath.Join(work, "node.img"), filepath.Join(work, "heard.pcap")
	err = scenario.Image(ctx, image, scenario.ImageOptions{Kind: scenario.Shipped, Release: dir, Upstream: fmt.Sprintf("10.0.2.2:%d", upstream.Port()),
		Node: func(n map[string]any) { n["projects"] = []string{demo.Debian, demo.RPM} }})
	if err != nil {
		return nil, err
	}
	m, err := vm.Launch(ctx, filepath.Join(o.Repository, "build", "vm"), vm.Config{Name: "figures-network", Image: image,
		NIC: "virtio-net-pci,speed=1000,duplex=full", Extra: []string{"-object", "filter-dump,id=heard,netdev=net0,file=" + heard}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	return onTheWire(ctx, o, m, heard), nil
}

// onTheWire measures what a node that has just been switched on does. The parts
// follow each other on its console; what one of them lacks, the next do not.
func onTheWire(ctx context.Context, o Options, m *vm.Machine, heard string) (out []Figure) {
	const group = "network"
	for _, p := range []struct {
		name    string
		measure func(context.Context) ([]Figure, error)
	}{
		{"rules of the firewall", func(ctx context.Context) ([]Figure, error) {
			line, err := m.WaitConsole(ctx, `mm netd: firewall is up rules=(\d+)`)
			if err != nil {
				return nil, err
			}
			count, err := strconv.ParseFloat(line.Groups[1], 64)
			return []Figure{{Group: group, Name: "rules of the firewall", Value: count, Unit: "rules"}}, err
		}},
		{"power-on to a usable address", func(ctx context.Context) ([]Figure, error) {
			line, err := m.WaitConsole(ctx, `mm netd: address \d+\.\d+\.\d+\.\d+/\d+ on wan0`)
			return []Figure{{Group: group, Name: "power-on to a usable address", Value: line.At.Seconds(), Unit: "s", Note: "DHCP, first boot of a disk"}}, err
		}},
		{"sent unasked", func(ctx context.Context) ([]Figure, error) {
			if _, err := m.WaitConsole(ctx, memoryLine.String()); err != nil {
				return nil, err
			}
			if err := waitIdle(ctx, m, true); err != nil {
				return nil, err
			}
			return listen(ctx, heard)
		}},
		{"a page again after the cable was out", func(ctx context.Context) ([]Figure, error) {
			took, err := flap(ctx, m)
			return []Figure{{Group: group, Name: "a page again after the cable was out", Value: took, Unit: "s", Note: fmt.Sprintf("median of %d", flaps)}}, err
		}},
	} {
		out = append(out, attempt(o.Log, group, p.name, func() ([]Figure, error) {
			ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("nothing within %v", limit))
			defer cancel()
			list, err := p.measure(ctx)
			if err != nil {
				return nil, err
			}
			return list, nil
		})...)
	}
	return out
}

// listen counts what a node sends in a while.
func listen(ctx context.Context, heard string) ([]Figure, error) {
	before, err := os.Stat(heard)
	if err != nil {
		return nil, fmt.Errorf("figures: %w", err)
	}
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(listening):
	}
	b, err := os.ReadFile(heard)
	if err != nil {
		return nil, fmt.Errorf("figures: %w", err)
	}
	frames, err := frames(b, before.Size())
	if err != nil {
		return nil, err
	}
	return unprompted(frames), nil
}

// flap pulls the cable and puts it back, and measures from then to the next page.
func flap(ctx context.Context, m *vm.Machine) (float64, error) {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	plug := func(in bool) error {
		return m.QMP(ctx, "set_link", map[string]any{"name": "net0", "up": in}, nil)
	}
	var took []float64
	for range flaps {
		if err := plug(false); err != nil {
			return 0, err
		}
		if _, err := m.WaitConsole(ctx, `mm netd: link is down`); err != nil {
			return 0, err
		}
		start := time.Now()
		if err := plug(true); err != nil {
			return 0, err
		}
		for !answers(ctx, client, m.URL("/")) {
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
		}
		took = append(took, time.Since(start).Seconds())
		// A cable that is out again before the node has noticed was never in for it.
		if _, err := m.WaitConsole(ctx, `mm netd: link is up`); err != nil {
			return 0, err
		}
	}
	return bench.Median(took), nil
}

func answers(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	r, err := client.Do(req)
	if err != nil {
		return false
	}
	return r.Body.Close() == nil && r.StatusCode == http.StatusOK
}
