// Package figures measures what a release costs: sizes, memory, the time to boot
// and to build, what an update over the air downloads and how long it takes a node
// out of service; how long a node takes to its address and back after its cable was
// out, how many rules its firewall has, and what it sends unasked; how long a
// maintainer waits for the commands that bring a node into being.
//
// Promise: every figure is measured in this run, on this computer, from the
// release as it is built now; nothing is asserted, an aim only stands beside its
// figure. One that could not be measured stands there with the reason, the others
// are measured all the same, and Report.Err tells. The other load of the computer
// is noted, because boot and build times mean little on a busy one.
//
// Files owned: build/figures.json, the result, and what else in build/ begins with
// figures, where the measured builds go; that is removed.
package figures

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"micromirror/packages/durable"
	"micromirror/packages/factory"
	"micromirror/packages/release"
	"micromirror/packages/vm"
)

// Options say what to measure.
type Options struct {
	Repository string   // top folder of the source tree
	Boots      int      // beside the first, of which the median counts
	Cold       bool     // build without Go's cache
	Update     bool     // update a node over the air
	Only       []string // names of parts; none for all, see Parts
	Log        io.Writer
}

// Figure is one thing that was measured.
type Figure struct {
	Group string  `json:"group"`
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"` // "MiB", "%", "s", "rules" or "packets"
	// Aim is what it should stay below, 0 for none.
	Aim  float64 `json:"aim,omitempty"`
	Note string  `json:"note,omitempty"`
	// Failed says why there is no value.
	Failed string `json:"failed,omitempty"`
}

// Report is the content of build/figures.json.
type Report struct {
	Release     string    `json:"release"`
	Measured    time.Time `json:"measured"`
	Accelerator vm.Accel  `json:"accelerator"`
	CPUs        int       `json:"cpus"`
	// Load is how many processes wanted a CPU when it began.
	Load    float64  `json:"load"`
	Figures []Figure `json:"figures"`
}

// FileName is the report's name in build/.
const FileName = "figures.json"

// Measure builds the release if need be, measures, and writes the report.
func Measure(ctx context.Context, o Options) (*Report, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	r, err := describeHost("/proc/loadavg")
	if err != nil {
		return nil, err
	}
	dir, err := factory.Build(ctx, factory.Options{Repository: o.Repository, Log: o.Log})
	if err != nil {
		return nil, err
	}
	built, err := release.Verify(ctx, dir)
	if err != nil {
		return nil, err
	}
	r.Release, r.Accelerator = built.Version, vm.Probe()
	for _, p := range parts() {
		if len(o.Only) > 0 && !slices.Contains(o.Only, p.name) {
			continue
		}
		more := attempt(o.Log, p.name, "all or the rest of it", func() ([]Figure, error) { return p.measure(ctx, o, dir) })
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		r.Figures = append(r.Figures, more...)
	}
	return r, r.write(filepath.Join(o.Repository, "build", FileName))
}

// part is a number of figures that are measured together.
type part struct {
	name    string
	measure func(ctx context.Context, o Options, dir string) ([]Figure, error)
}

func parts() []part {
	return []part{{"sizes", sizesOf}, {"boot", boots}, {"network", network}, {"desk", atTheDesk}, {"update", updates}, {"build", builds}}
}

// Parts names what Options.Only may hold.
func Parts() (names []string) {
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

// check refuses parts that do not exist.
func (o Options) check() error {
	for _, name := range o.Only {
		if !slices.Contains(Parts(), name) {
			return fmt.Errorf("figures: there is no %q to measure; there are %s", name, strings.Join(Parts(), ", "))
		}
	}
	return nil
}

// attempt measures. What fails becomes a figure without a value, after those that
// did not fail.
func attempt(log io.Writer, group, name string, measure func() ([]Figure, error)) []Figure {
	list, err := measure()
	if err != nil {
		fmt.Fprintf(log, "figures: %s: %s: not measured: %v\n", group, name, err)
		list = append(list, Figure{Group: group, Name: name, Failed: err.Error()})
	}
	return list
}

// Err tells how many figures could not be measured.
func (r *Report) Err() error {
	n := 0
	for _, f := range r.Figures {
		if f.Failed != "" {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("figures: %d could not be measured, see the table", n)
}

func (r *Report) write(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("figures: %w", err)
	}
	return durable.WriteFile(path, append(data, '\n'), 0o644)
}

const mib = 1 << 20

func sizesOf(_ context.Context, _ Options, dir string) ([]Figure, error) {
	r, err := release.Read(dir)
	if err != nil {
		return nil, err
	}
	return sizes(r), nil
}

// sizes are those of a release's files. A slot is what an update replaces.
func sizes(r *release.Release) []Figure {
	const group, slotAim = "sizes", 64
	figure := func(name string, bytes int64) Figure {
		return Figure{Group: group, Name: name, Value: float64(bytes) / mib, Unit: "MiB"}
	}
	slot := figure("slot: kernel, initrd and root", r.Kernel.Size+r.Initrd.Size+r.Root.Size)
	slot.Aim = slotAim
	return []Figure{
		figure("kernel", r.Kernel.Size), figure("initrd", r.Initrd.Size), figure("root with hash tree", r.Root.Size), slot,
		figure("boot loader", r.Loader.Size), figure("template of /perm", r.Perm.Size),
	}
}
