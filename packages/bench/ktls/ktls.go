// Package ktls measures what sealing in the kernel saves: the file server of the
// image, on the image's kernel, in a virtual machine without anything else,
// serves one file over loopback by TLS that the kernel seals, by TLS that the
// server seals, and without TLS, in turns. The cost is the CPU time of the
// server's threads, in user and kernel space, for each byte of body; the client's
// is not in it. All connections speak TLS 1.3 with AES-128-GCM, and it is an
// error when the kernel did not count the connections that it should have sealed,
// or counted others.
//
// With KVM, the unit is seconds of CPU for a GB, and they are the processor's.
// Without, a time would tell how well QEMU imitates: it does AES and carry-less
// multiplication by tables and loops, so slowly that these hide all else. So the
// clock of the emulated machine then counts instructions (-icount), and the unit is
// instructions for a byte: the same on every computer, busy or not. They say how
// much less there is to do, copying and system calls included. They are not time: an
// AES instruction, a copy of 32 bytes and an addition weigh the same, and neither
// caches nor interrupts nor a network card are in it. REP MOVSB is hidden from the
// machine, as it would count every byte.
//
// Two rows have no goal and show what the others are made of: "no TLS" is plain
// HTTP, "AES alone" is AES-128-GCM of records in memory in user space, both against
// TLS sealed by the server. Their sum is about the least that TLS can cost whoever
// seals, without a network card that does.
//
// It needs a filled package kernel and QEMU, takes one of the places for virtual
// machines (see package vm), and writes below its scratch directory only.
package ktls

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"micromirror/packages/bench"
	"micromirror/packages/child"
	"micromirror/packages/initramfs"
	"micromirror/packages/kernel"
	"micromirror/packages/vm"
)

// Config says what to run.
type Config struct {
	Kernel  string // folder of package kernel, filled
	Guest   string // static program that calls Guest when its first argument says so
	Name    string // of that argument
	Server  string // our server program, static
	Scratch string
	Rounds  int
	Out     io.Writer
}

// aim is the goal set for the kernel, in multiples of the server.
const aim = 0.5

// Run measures in a virtual machine and returns the rows.
func Run(ctx context.Context, c Config) ([]bench.Row, error) {
	k, err := kernel.Open(c.Kernel)
	if err != nil {
		return nil, err
	}
	initrd := filepath.Join(c.Scratch, "initrd")
	if _, err := initramfs.Build(ctx, initramfs.Spec{
		Out: initrd, Init: c.Guest, ModuleDir: k.ModuleDir(), Files: map[string]string{guestServer: c.Server},
		Modules: []string{"tls", "gcm", "aesni_intel", "ghash_clmulni_intel"}, // the server's, in the image
	}); err != nil {
		return nil, err
	}
	build, err := vm.BuildDir()
	if err != nil {
		return nil, err
	}
	seat, err := vm.Reserve(ctx, filepath.Join(build, "vm"), 1)
	if err != nil {
		return nil, err
	}
	defer seat.Release()
	accel := vm.Probe()
	fmt.Fprintf(c.Out, "measuring in a virtual machine (%s), which takes a few minutes\n", accel)
	log := filepath.Join(c.Scratch, "console.log")
	if err := run(ctx, log, c.machine(accel, k.Vmlinuz(), initrd)); err != nil {
		return nil, err
	}
	console, err := os.ReadFile(log)
	if err != nil {
		return nil, fmt.Errorf("results: %w", err)
	}
	r, err := parse(console)
	if err != nil {
		return nil, fmt.Errorf("%w; the console is in %s", err, log)
	}
	fmt.Fprintf(c.Out, "the kernel's AES-GCM: %s\n", r.Driver)
	return r.rows(unitOf(accel))
}

func unitOf(accel vm.Accel) string {
	if accel == vm.KVM {
		return "CPU s/GB"
	}
	return "instructions/byte" // at one in a nanosecond, seconds for a GB are the same number
}

// machine is QEMU's command line.
func (c Config) machine(accel vm.Accel, vmlinuz, initrd string) []string {
	args := []string{"qemu-system-x86_64", "-no-user-config", "-nodefaults", "-machine", "q35", "-m", "1024", "-smp", "1",
		"-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", vmlinuz, "-initrd", initrd,
		"-append", "console=ttyS0 quiet panic=-1 no_timer_check -- " + c.Name + " " + strconv.Itoa(c.Rounds)}
	if accel == vm.KVM {
		return append(args, "-accel", "kvm", "-cpu", "host")
	}
	return append(args, "-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-cpu", "max,erms=off,fsrm=off")
}

// run runs the machine until it goes off. What it says goes to a file.
func run(ctx context.Context, log string, args []string) error {
	console, err := os.Create(log)
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	defer console.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = console, console
	p, err := child.Start(cmd)
	if err != nil {
		return fmt.Errorf("start virtual machine: %w", err)
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Kill()
		return context.Cause(ctx)
	}
	if err := p.Wait(); err != nil {
		return fmt.Errorf("virtual machine, see %s: %w", log, err)
	}
	return nil
}

// mark begins the line with the results.
const mark = "ktls results: "

// parse finds the results in what the console said.
func parse(console []byte) (results, error) {
	_, line, found := bytes.Cut(console, []byte(mark))
	line, _, whole := bytes.Cut(line, []byte("\n"))
	if !found || !whole {
		return results{}, errors.New("the virtual machine went off without results")
	}
	var r results
	if err := json.Unmarshal(line, &r); err != nil {
		return results{}, fmt.Errorf("results of the virtual machine: %w", err)
	}
	if r.Failure != "" {
		return results{}, fmt.Errorf("in the virtual machine: %s", r.Failure)
	}
	return r, nil
}

// rows makes the table.
func (r results) rows(unit string) ([]bench.Row, error) {
	var rows []bench.Row
	for _, b := range bodies {
		cost := map[string]float64{}
		for _, way := range ways {
			if cost[way] = bench.Median(r.Costs[b.name][way]); cost[way] == 0 {
				return nil, fmt.Errorf("no results for %s, %s", b.name, way)
			}
		}
		rows = append(rows,
			bench.NewRow(b.name, unit, cost[wayKernel], cost[wayServer], aim),
			bench.NewRow(b.name+", no TLS", unit, cost[wayPlain], cost[wayServer], 0),
			bench.NewRow(b.name+", AES alone", unit, bench.Median(r.AES), cost[wayServer], 0))
	}
	return rows, nil
}
