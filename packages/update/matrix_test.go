package update

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"micromirror/packages/slot"
)

// once orders one fault. Killed processes end by the context of their life; what
// hangs never goes on.
type once struct {
	point, kind string
	kill        func()

	mu    sync.Mutex
	fired bool
}

func (o *once) at(_ context.Context, point string) error {
	o.mu.Lock()
	hit := point == o.point && !o.fired
	o.fired = o.fired || hit
	o.mu.Unlock()
	switch {
	case !hit:
		return nil
	case o.kind == "error":
		return errors.New("ordered by a test")
	case o.kind == "kill":
		o.kill()
	}
	select {}
}

// Every state × {error, kill, hang}: the node never runs half a release or half a
// configuration, and what was wanted is reached afterwards.
func TestEveryFaultInEveryState(t *testing.T) {
	var mu sync.Mutex
	rows := map[string]string{}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STATE\tFAULT\tBOOTS\tSTARTS\tFIRST SIGN\tEND")
	t.Run("matrix", func(t *testing.T) {
		for _, point := range Points() {
			for _, kind := range []string{"error", "kill", "hang"} {
				t.Run(point+"-"+kind, func(t *testing.T) {
					t.Parallel()
					row := faulty(t, point, kind)
					mu.Lock()
					defer mu.Unlock()
					rows[point+"\t"+kind] = row
				})
			}
		}
	})
	for _, point := range Points() {
		for _, kind := range []string{"error", "kill", "hang"} {
			fmt.Fprintf(w, "%s\t%s\t%s\n", point, kind, rows[point+"\t"+kind])
		}
	}
	w.Flush()
	t.Logf("\n%s", table.String())
}

// faulty brings a node from 01 over the bad 02, or a bad configuration, to 03 and
// a new configuration, with one fault on the way.
func faulty(t *testing.T, point, kind string) string {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.timing.Step, b.timing.Drain = time.Minute, time.Minute
	if kind == "hang" {
		b.timing.Step, b.timing.Drain = time.Second, time.Second
	}
	b.dead = func(v string) bool { return point == "failed" && v == "2026.11.02" }
	o := &once{point: point, kind: kind}
	b.fault = o.at
	starts := 0
	b.ends = func(kill func()) { starts++; o.kill = kill }
	b.boot()
	if point == "failed" {
		f.publish("2026.11.02")
		b.settle()
	}
	if point == "config-returning" {
		f.config(f.file("unplugged@example.net"), b.name)
		b.settle()
	}
	sign := b.problem()
	f.config(f.file("new@example.net"), b.name)
	f.publish("2026.11.03")
	for range 30 {
		b.step()
		if sign == "" {
			sign = b.problem()
		}
		if b.version == "2026.11.03" && b.saved().State == Good && b.saved().Config.Applied != "" {
			break
		}
	}
	b.runs("2026.11.03")
	if !o.fired {
		t.Error("the fault did not happen")
	}
	if s := b.saved(); s.State != Good || s.Slot != b.slot {
		t.Errorf("state %+v, slot %s", s, b.slot)
	}
	if got := b.read("fleet.json"); got != f.file("new@example.net") {
		t.Errorf("configuration %s, problem %q, console:\n%s", got, b.problem(), b.console.String())
	}
	if entries, err := slot.List(string(b.esp)); err != nil || len(entries) != 2 {
		t.Errorf("entries %+v, %v", entries, err)
	}
	if len(sign) > 60 {
		sign = sign[:60] + "…"
	}
	return fmt.Sprintf("%d\t%d\t%s\t%s good, configuration new", b.boots, starts, oneLine(sign), b.version)
}
