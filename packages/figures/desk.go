package figures

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"micromirror/packages/demo"
	"micromirror/packages/desk"
)

// workOfANode is what a node may cost its maintainer, in seconds, from the host's
// yes to a parcel; today's fleet takes half an hour.
const workOfANode = 300

// atTheDesk measures what a maintainer waits for: the commands that bring a fleet
// and a node into being, as they are typed.
func atTheDesk(ctx context.Context, o Options, dir string) (_ []Figure, err error) {
	trees := filepath.Join(o.Repository, "build", "demo")
	if err := demo.Build(ctx, trees, nil); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp(filepath.Join(o.Repository, "build"), "figures-desk")
	if err != nil {
		return nil, fmt.Errorf("figures: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	seeded := filepath.Join(work, "seeded")
	if err := os.CopyFS(seeded, os.DirFS(filepath.Join(o.Repository, "images", "demo"))); err != nil {
		return nil, err
	}
	return commands(ctx, deskSteps(filepath.Join(work, "fleet"), seeded, filepath.Join(work, "disk.img"), dir, filepath.Dir(demo.Tree(trees, demo.Debian))))
}

// deskStep is a command of mirrorctl's.
type deskStep struct {
	name string
	each bool // once for every node
	args []string
}

func deskSteps(fleet, seeded, disk, release, trees string) []deskStep {
	return []deskStep{
		{"init", false, []string{"init", "--fleet", fleet, "--domain", "mirror.example", "--contact", "noc@mirror.example", "--upstream", "mirror.example",
			"--update-url", "https://mirror.example/fleet/", "--manage-key", "", "--allow", ""}},
		{"release", false, []string{"release", "--fleet", fleet, "--release", release}},
		{"node add", true, []string{"node", "add", "one", "--fleet", fleet, "--hardware", "qemu", "--sponsor", "S", "--sponsor-url", "https://s.example/",
			"--addresses", "192.0.2.7/24", "--gateways", "192.0.2.1", "--dns", "192.0.2.53", "--projects", "gimp", "--disk", "1TB", "--location", "eu/de//berlin"}},
		{"check", true, []string{"check", "--fleet", fleet}},
		{"config publish", true, []string{"config", "publish", "--fleet", fleet}},
		{"flash, to a file of 8 GiB", true, []string{"flash", "--fleet", fleet, "--node", "one", "--disk", disk, "--size", "8G", "--any-size", "--yes", "one", "--release", release}},
		{"card", true, []string{"card", "one", "--fleet", fleet, "--out", disk + ".html"}},
		{"register", true, []string{"register", "one", "--fleet", fleet}},
		{"flash with the demo's trees, 1.1 GiB", false, []string{"flash", "--fleet", seeded, "--node", "demo", "--disk", disk, "--size", "8G", "--any-size", "--yes", "demo",
			"--release", release, "--seed", trees}},
	}
}

// commands runs the commands. Each needs those before it.
func commands(ctx context.Context, steps []deskStep) ([]Figure, error) {
	const group = "desk"
	var out []Figure
	sum := time.Duration(0)
	for _, s := range steps {
		begin := time.Now()
		c := desk.Command()
		c.SetArgs(s.args)
		c.SetOut(io.Discard)
		c.SetErr(io.Discard)
		if err := c.ExecuteContext(ctx); err != nil {
			return out, fmt.Errorf("mirrorctl %s: %w", s.name, err)
		}
		took := time.Since(begin)
		if s.each {
			sum += took
		}
		out = append(out, Figure{Group: group, Name: "mirrorctl " + s.name, Value: took.Seconds(), Unit: "s"})
	}
	return append(out, Figure{Group: group, Name: "all that a node takes at the desk", Value: sum.Seconds(), Unit: "s", Aim: workOfANode,
		Note: "the commands; writing to a disk takes as long as the disk does"}), nil
}
