package figures

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"micromirror/packages/factory"
	"micromirror/packages/release"
	"micromirror/packages/scenario"
	"micromirror/packages/vm"
)

// What the releases order of the node, by fault points: to ask for updates every
// ten seconds and to believe in a release sooner; and the bad one, that it is never
// found healthy.
const (
	hurry = "mm.fault=update-hurry,quick-proof"
	sick  = hurry + ",never-bless"
)

// updates measures an update over the air in which one daemon has changed, a bad
// release that a node leaves by itself, and a signed emergency downgrade.
func updates(ctx context.Context, o Options, _ string) (_ []Figure, err error) {
	if !o.Update {
		return nil, nil
	}
	old, err := factory.Build(ctx, factory.Options{Repository: o.Repository, Log: o.Log, Tags: []string{"faults"}})
	if err != nil {
		return nil, err
	}
	changed, end, err := buildChanged(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	bytes, all, err := travel(ctx, old, changed)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Join(o.Repository, "build"), "figures-update")
	if err != nil {
		return nil, fmt.Errorf("figures: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := newProving(ctx, dir, old, changed)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.office.Close()) }()
	times, err := p.run(ctx, o)
	return append(downloadFigures(bytes, all), times...), err
}

// proving is a node's way through three releases: the old one, the changed one,
// and a bad one.
type proving struct {
	office   *scenario.Office
	image    string
	releases [3]string // folders
	versions [3]string
	m        *vm.Machine
	pages    *pages
}

// newProving makes the releases, of equal builds but for what is told here, and
// the image of a node that runs the first.
func newProving(ctx context.Context, dir, old, changed string) (_ *proving, err error) {
	p := &proving{image: filepath.Join(dir, "node.img")}
	for n, v := range []struct{ from, options string }{{old, hurry}, {changed, hurry}, {changed, sick}} {
		p.releases[n] = filepath.Join(dir, fmt.Sprintf("release-%d", n))
		err := scenario.Variant(v.from, p.releases[n], n, func(_ string, r *release.Release) error {
			r.Options += " " + v.options
			p.versions[n] = r.Version
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if p.office, err = scenario.OpenOffice(ctx, filepath.Join(dir, "fleet")); err != nil {
		return nil, err
	}
	err = scenario.Image(ctx, p.image, scenario.ImageOptions{Kind: scenario.Faults, Release: p.releases[0], Office: p.office})
	if err != nil {
		return nil, errors.Join(err, p.office.Close())
	}
	return p, nil
}

// run lets the node go its way and measures it.
func (p *proving) run(ctx context.Context, o Options) (_ []Figure, err error) {
	p.m, err = vm.Launch(ctx, filepath.Join(o.Repository, "build", "vm"), vm.Config{Name: "figures-update", Image: p.image})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.m.Close()) }()
	p.pages = watch(p.m.URL("/"))
	defer p.pages.stop()
	if _, err := p.wait(ctx, `mm updated: slot a healthy, re-armed`); err != nil {
		return nil, err
	}
	var out []Figure
	for _, part := range []func(context.Context) ([]Figure, error){p.good, p.bad, p.emergency} {
		more, err := part(ctx)
		if err != nil {
			return nil, err
		}
		for _, f := range more {
			fmt.Fprintf(o.Log, "figures: %s: %.1f %s\n", f.Name, f.Value, f.Unit)
		}
		out = append(out, more...)
	}
	return out, nil
}

func (p *proving) wait(ctx context.Context, re string) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("nothing within %v", limit))
	defer cancel()
	m, err := p.m.WaitConsole(ctx, re)
	return m.At, err
}

// waitAll waits for lines in their order and says when each came.
func (p *proving) waitAll(ctx context.Context, lines ...string) ([]time.Duration, error) {
	var out []time.Duration
	for _, line := range lines {
		at, err := p.wait(ctx, line)
		if err != nil {
			return nil, err
		}
		out = append(out, at)
	}
	return out, nil
}

const pageToPage = "from the last page before to the first after"

// good is an update that succeeds.
func (p *proving) good(ctx context.Context) ([]Figure, error) {
	start := time.Now()
	if err := p.office.Offer(ctx, p.releases[1], false); err != nil {
		return nil, err
	}
	at, err := p.waitAll(ctx, p.line("downloading %s", 1), p.line("installed %s", 1), p.line("rebooting into %s", 1), p.line("release %s is good", 1))
	if err != nil {
		return nil, err
	}
	down, err := p.pages.longest(start)
	if err != nil {
		return nil, err
	}
	return []Figure{
		second("download and installation", at[1]-at[0], "from a web server on this computer; the slot's read-back included"),
		second("downtime of an update", down, pageToPage),
		second("reboot until found good", at[3]-at[2], "with a proof that is shorter than in the field"),
	}, nil
}

// bad is a release that is never found healthy.
func (p *proving) bad(ctx context.Context) ([]Figure, error) {
	if err := p.office.Offer(ctx, p.releases[2], false); err != nil {
		return nil, err
	}
	at, err := p.waitAll(ctx, p.line("rebooting into %s", 2), p.line("release %s failed", 2), `mm updated: slot b healthy`)
	if err != nil {
		return nil, err
	}
	return []Figure{second("rollback by itself", at[2]-at[0], "from the reboot into a release that is never healthy, all its tries, to the old one in good health")}, nil
}

// emergency is a signed downgrade.
func (p *proving) emergency(ctx context.Context) ([]Figure, error) {
	start := time.Now()
	if err := p.office.Offer(ctx, p.releases[0], true); err != nil {
		return nil, err
	}
	at, err := p.waitAll(ctx, p.line("downloading %s", 0), p.line("release %s is good", 0))
	if err != nil {
		return nil, err
	}
	down, err := p.pages.longest(start)
	if err != nil {
		return nil, err
	}
	return []Figure{
		second("emergency downgrade", at[1]-at[0], "from the node's hearing of it until found good"),
		second("downtime of a downgrade", down, pageToPage),
	}, nil
}

// line is what updated says of the n-th release.
func (p *proving) line(format string, n int) string {
	return "mm updated: " + fmt.Sprintf(format, regexp.QuoteMeta(p.versions[n]))
}

func second(name string, d time.Duration, note string) Figure {
	return Figure{Group: "update", Name: name, Value: d.Seconds(), Unit: "s", Note: note}
}
