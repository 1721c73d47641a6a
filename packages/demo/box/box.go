// Package box puts the demo's node together: its fleet, its disk and the machine
// that it runs in.
//
// Promise: the machine is off, its disk freshly written from a release, and its
// node mirrors from this computer. Everything lies in the machine's folder and
// goes when it is closed.
package box

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"micromirror/packages/desk"
	"micromirror/packages/node"
	"micromirror/packages/vm"
)

// Options say what to put together.
type Options struct {
	Name       string // of the machine's folder
	Repository string // top folder of the source tree
	Release    string // folder of a built release
	Upstream   int    // port of this computer
	Projects   []string
	Ports      map[int]int // see vm.Config
	OnLine     func(vm.Line)
	Log        io.Writer // of the disk's progress
}

// nodeName is the node of the demo fleet.
const nodeName = "demo"

// diskSize of the node's disk; sparse, so it takes what is written to it.
const diskSize = 8 << 30

// New makes a machine. Close it.
func New(ctx context.Context, o Options) (*vm.Machine, error) {
	m, err := vm.New(ctx, filepath.Join(o.Repository, "build", "vm"), vm.Config{
		Name: o.Name, Disk: "disk.raw", Ports: o.Ports, OnLine: o.OnLine})
	if err != nil {
		return nil, err
	}
	fleet := filepath.Join(m.Dir(), "fleet")
	err = writeFleet(filepath.Join(o.Repository, "images", "demo"), fleet, o.Upstream, o.Projects)
	if err == nil {
		err = desk.Image(ctx, desk.ImageOptions{Fleet: desk.Fleet(fleet), Node: nodeName, Release: o.Release, Size: diskSize, Out: m.Disk().Path, Log: o.Log})
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// writeFleet copies the demo fleet with the upstream's port of this run and, if
// any are named, other projects in it.
func writeFleet(from, to string, port int, projects []string) error {
	if err := os.MkdirAll(filepath.Join(to, "nodes"), 0o755); err != nil {
		return fmt.Errorf("demo fleet: %w", err)
	}
	err := change(from, to, node.FleetFile, func(fleet map[string]any) {
		fleet["upstream"] = fmt.Sprintf("10.0.2.2:%d", port)
	})
	if err != nil {
		return err
	}
	return change(from, to, filepath.Join("nodes", nodeName+".json"), func(n map[string]any) {
		if len(projects) > 0 {
			n["projects"] = projects
		}
	})
}

func change(from, to, name string, f func(map[string]any)) error {
	data, err := os.ReadFile(filepath.Join(from, name))
	if err != nil {
		return fmt.Errorf("demo fleet: %w", err)
	}
	var object map[string]any
	if err := json.Unmarshal(data, &object); err != nil {
		return fmt.Errorf("demo fleet: %s: %w", name, err)
	}
	f(object)
	if data, err = json.MarshalIndent(object, "", "  "); err != nil {
		return fmt.Errorf("demo fleet: %s: %w", name, err)
	}
	return os.WriteFile(filepath.Join(to, name), data, 0o644)
}

// WaitPage waits until the node serves its first page. It asks only when the
// console says that somebody answers: a request that comes too early hangs in
// QEMU's network and would make the page seem late.
func WaitPage(ctx context.Context, m *vm.Machine) error {
	const poll = 100 * time.Millisecond
	for !reached(m, "network", "serving") {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the first page: %w; the console ends\n%s", context.Cause(ctx), m.ConsoleTail(25))
		case <-m.Off():
			return fmt.Errorf("wait for the first page: %w; the console ends\n%s", vm.ErrOff, m.ConsoleTail(25))
		case <-time.After(poll):
		}
	}
	_, err := m.WaitHTTP(ctx, "/", 200)
	return err
}

func reached(m *vm.Machine, names ...string) bool {
	marks := m.Timeline()
	return !slices.ContainsFunc(names, func(name string) bool {
		return !slices.ContainsFunc(marks, func(mark vm.Mark) bool { return mark.Name == name })
	})
}
