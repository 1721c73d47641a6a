// Package show is "make run": the whole appliance on the developer's computer.
//
// Promise: Run sees to the programs it needs, builds the release and the demo
// upstream, writes a disk image, boots it in QEMU under UEFI, tells how far each
// long step is, and prints the addresses as soon as the node serves a page, which
// is long before it has mirrored everything. It stays until ctx ends, then stops
// what it started. Left behind are only the caches build/debian, build/work,
// build/release and build/demo, which make the next run fast; should the process
// be killed, its machine dies with it and the next start removes its files.
//
// Ports: 8080 and 8873 of 127.0.0.1 for the node's 80 and 873 where they
// are free, others where not. The upstream takes any free port.
package show

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"micromirror/packages/demo"
	"micromirror/packages/demo/box"
	"micromirror/packages/factory"
	"micromirror/packages/hostdeps"
	"micromirror/packages/vm"
)

// Options say what to run.
type Options struct {
	Repository string // top folder of the source tree
	Release    string // folder of a built release; empty means build one
	Out        io.Writer
	Columns    int // of the terminal that Out is: progress replaces itself; 0 for no terminal
}

// Run runs the demo until ctx ends.
func Run(ctx context.Context, o Options) error {
	s := newScreen(o.Out, o.Columns)
	err := run(ctx, o, s)
	if ctx.Err() != nil { // what was interrupted has failed, as it should
		s.line("demo: stopped")
		return nil
	}
	return err
}

func run(ctx context.Context, o Options, s *screen) error {
	if err := hostdeps.Ensure(ctx, slices.Concat(hostdeps.Build(), hostdeps.Run()), o.Out); err != nil {
		return fmt.Errorf("prepare this computer: %w", err)
	}
	build := filepath.Join(o.Repository, "build")
	if err := checkRoom(build); err != nil {
		return err
	}
	dir := filepath.Join(build, "demo")
	release, err := prepare(ctx, o, dir, s)
	if err != nil {
		return err
	}
	upstream, err := demo.Serve(ctx, dir, "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer upstream.Close()
	s.line("upstream: rsync://%s/ serves %v", upstream.Addr(), demo.Modules())
	return boot(ctx, o, release, upstream.Port(), s)
}

// prepare builds release and upstream side by side: one mostly computes, the other
// mostly downloads.
func prepare(ctx context.Context, o Options, dir string, s *screen) (release string, err error) {
	var g errgroup.Group
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g.Go(func() error {
		err := demo.Build(ctx, dir, func(p demo.Progress) { s.status("%s", describeBuild(p)) })
		if err != nil {
			cancel()
		}
		return err
	})
	g.Go(func() (err error) {
		if release = o.Release; release != "" {
			return nil
		}
		release, err = factory.Build(ctx, factory.Options{Repository: o.Repository, Log: s})
		if err != nil {
			cancel()
		}
		return err
	})
	return release, g.Wait()
}

func describeBuild(p demo.Progress) string {
	if p.Total == 0 {
		return fmt.Sprintf("upstream: %s: %s", p.Module, p.Step)
	}
	return fmt.Sprintf("upstream: %s: %s %d %%", p.Module, p.Step, 100*p.Done/p.Total)
}

// boot writes the disk, runs the machine and follows it until ctx ends.
func boot(ctx context.Context, o Options, release string, upstreamPort int, s *screen) error {
	ports, free := claimPorts()
	defer free()
	m, err := box.New(ctx, box.Options{Name: "demo", Repository: o.Repository, Release: release, Upstream: upstreamPort,
		Ports: ports, OnLine: s.console, Log: s})
	if err != nil {
		return err
	}
	defer m.Close()
	s.line("boot: QEMU with UEFI, %s", vm.Probe())
	free()
	if err := m.PowerOn(ctx); err != nil {
		return err
	}
	if err := follow(ctx, m, s); err != nil && ctx.Err() == nil {
		kept := filepath.Join(o.Repository, "build", "vm-failures", "demo")
		return errors.Join(err, fmt.Errorf("console log and screenshot are in %s", kept), m.Keep(kept))
	}
	return nil
}

// claimPorts maps the node's ports to memorable ones of this computer if they are
// free, and to any free one (0) if not. It holds them until free is called, so
// that another demo that starts meanwhile takes others.
func claimPorts() (ports map[int]int, free func()) {
	ports = map[int]int{}
	var held []net.Listener
	for guest, host := range map[int]int{80: 8080, 873: 8873} {
		ports[guest] = 0
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", host)); err == nil {
			held = append(held, l)
			ports[guest] = host
		}
	}
	return ports, func() {
		for _, l := range held {
			l.Close()
		}
	}
}

// bootTime bounds the wait for the first page, also on a slow computer without KVM.
const bootTime = 10 * time.Minute

// follow waits for the first page, prints the addresses, and reports the
// node's progress until ctx ends or the machine goes off.
func follow(ctx context.Context, m *vm.Machine, s *screen) error {
	start := time.Now()
	first, cancel := context.WithTimeoutCause(ctx, bootTime, fmt.Errorf("nothing within %v", bootTime))
	defer cancel()
	if err := firstPage(first, m, s); err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	s.line("")
	s.line("The node serves, %.0f s after power-on:", time.Since(start).Seconds())
	for _, line := range addresses(m.URL(""), "rsync://"+m.Addr(873)) {
		s.line("%s", line)
	}
	s.line("Ctrl-C stops everything.")
	s.line("")
	return reportSync(ctx, m, s)
}

// firstPage waits for the first page and meanwhile says how long it has been.
func firstPage(ctx context.Context, m *vm.Machine, s *screen) error {
	start, served := time.Now(), make(chan error, 1)
	go func() { served <- box.WaitPage(ctx, m) }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-served:
			return err
		case <-tick.C:
			at := "power on"
			if marks := m.Timeline(); len(marks) > 0 {
				at = marks[len(marks)-1].Name
			}
			s.status("boot: %s, %.0f s since power-on", at, time.Since(start).Seconds())
		}
	}
}
