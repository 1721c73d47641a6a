package figures

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"

	"micromirror/packages/bench"
	"micromirror/packages/demo"
	"micromirror/packages/demo/box"
	"micromirror/packages/httpd/status"
	"micromirror/packages/vm"
)

// boot is what one power-on took, each part from the end of the one before.
type boot struct {
	firmware, kernel, initrd, daemons, memory float64
}

// init is when the first process of the root file system starts.
func (b boot) init() float64 { return b.firmware + b.kernel + b.initrd }

// served is when the first page was served.
func (b boot) served() float64 { return b.init() + b.daemons }

// split takes a boot apart. The kernel begins when its EFI stub speaks.
func split(marks []vm.Mark, served time.Duration) (boot, error) {
	at := map[string]time.Duration{}
	for _, m := range marks {
		at[m.Name] = m.At
	}
	ends := []time.Duration{0}
	for _, name := range []string{"loader", "initrd", "switch"} {
		end, reached := at[name]
		if !reached || end < ends[len(ends)-1] {
			return boot{}, fmt.Errorf("boot: the console shows no %q in its place: %v", name, marks)
		}
		ends = append(ends, end)
	}
	if served < ends[3] {
		return boot{}, fmt.Errorf("boot: a page after %v, init after %v", served, ends[3])
	}
	part := func(i int) float64 { return (ends[i] - ends[i-1]).Seconds() }
	return boot{firmware: part(1), kernel: part(2), initrd: part(3), daemons: (served - ends[3]).Seconds()}, nil
}

// boots starts a node several times. At its first boot it mirrors two small
// projects; afterwards it has nothing to do, which is when its memory is looked at.
func boots(ctx context.Context, o Options, dir string) (_ []Figure, err error) {
	demoDir := filepath.Join(o.Repository, "build", "demo")
	if err := demo.Build(ctx, demoDir, nil); err != nil {
		return nil, err
	}
	upstream, err := demo.Serve(ctx, demoDir, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer upstream.Close()
	m, err := box.New(ctx, box.Options{Name: "figures", Repository: o.Repository, Release: dir, Upstream: upstream.Port(),
		Projects: []string{demo.Debian, demo.RPM}, Log: o.Log})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	image, err := stored(m.Disk().Path)
	if err != nil {
		return nil, err
	}
	all := make([]boot, o.Boots+1)
	for i := range all {
		if all[i], err = once(ctx, m, i == 0); err != nil {
			return nil, err
		}
		fmt.Fprintf(o.Log, "figures: boot %d of %d: %.1f s to the first page\n", i+1, len(all), all[i].served())
	}
	figures := []Figure{{Group: "sizes", Name: "image of 8 GiB, as stored", Value: image, Unit: "MiB"}}
	return append(figures, describe(all[0], all[1:])...), nil
}

// stored is how much of a sparse file there is, in MiB.
func stored(path string) (float64, error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("figures: %w", err)
	}
	const block = 512 // stat(2)
	return float64(st.Sys().(*syscall.Stat_t).Blocks*block) / mib, nil
}

// limit of one wait: a boot until the node is healthy, or all tries of a bad release,
// on a slow computer.
const limit = 40 * time.Minute

// memoryLine is what the node says when it is found healthy.
var memoryLine = regexp.MustCompile(`mm updated: memory used (\d+) MiB of \d+ MiB`)

// once switches the machine on, waits until it serves and is healthy, and
// switches it off. After the first boot everything must be mirrored.
func once(ctx context.Context, m *vm.Machine, first bool) (b boot, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("nothing within %v", limit))
	defer cancel()
	start := time.Now()
	if err := m.PowerOn(ctx); err != nil {
		return b, err
	}
	if err := box.WaitPage(ctx, m); err != nil {
		return b, err
	}
	served := time.Since(start)
	if b, err = split(m.Timeline(), served); err != nil {
		return b, err
	}
	line, err := m.WaitConsole(ctx, memoryLine.String())
	if err != nil {
		return b, err
	}
	if b.memory, err = strconv.ParseFloat(line.Groups[1], 64); err != nil {
		return b, err
	}
	if err := waitIdle(ctx, m, first); err != nil {
		return b, err
	}
	return b, m.Shutdown(ctx)
}

// waitIdle waits until everything is mirrored. A node that has to work although
// it did so before does not tell what an idle one takes.
func waitIdle(ctx context.Context, m *vm.Machine, may bool) error {
	for {
		body, err := m.WaitHTTP(ctx, "/status.json", 200)
		if err != nil {
			return err
		}
		var r status.Report
		if err := json.Unmarshal(body, &r); err != nil {
			return fmt.Errorf("status of the node: %w", err)
		}
		idle := !slices.ContainsFunc(r.Projects, func(p status.Project) bool { return p.Status != "idle" })
		if idle {
			return nil
		}
		if !may {
			return fmt.Errorf("the node that should be idle is not:\n%s", body)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the mirror: %w", context.Cause(ctx))
		case <-time.After(time.Second):
		}
	}
}

// describe words the first boot and the medians of the others.
func describe(first boot, later []boot) []Figure {
	median := func(part func(boot) float64) float64 {
		var v []float64
		for _, b := range later {
			v = append(v, part(b))
		}
		return bench.Median(v)
	}
	const group, memoryAim, servedAim = "boot", 256, 35
	note := fmt.Sprintf("median of %d", len(later))
	out := []Figure{{Group: "memory", Name: "used by the idle node", Unit: "MiB", Aim: memoryAim,
		Value: median(func(b boot) float64 { return b.memory }), Note: "total less available, of 1 GiB; " + note}}
	for _, p := range []struct {
		name string
		part func(boot) float64
	}{
		{"firmware and loader", func(b boot) float64 { return b.firmware }},
		{"kernel", func(b boot) float64 { return b.kernel }},
		{"initrd", func(b boot) float64 { return b.initrd }},
		{"daemons, to the first page", func(b boot) float64 { return b.daemons }},
		{"power-on to init", boot.init},
	} {
		out = append(out, Figure{Group: group, Name: p.name, Value: median(p.part), Unit: "s", Note: note})
	}
	return append(out,
		Figure{Group: group, Name: "power-on to the first page", Value: median(boot.served), Unit: "s", Aim: servedAim, Note: note},
		Figure{Group: group, Name: "the same, first boot of a disk", Value: first.served(), Unit: "s"})
}
