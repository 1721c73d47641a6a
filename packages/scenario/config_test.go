//go:build vm

package scenario

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"micromirror/packages/demo"
	"micromirror/packages/httpd/status"
	"micromirror/packages/identity"
	"micromirror/packages/vm"
)

// editNode changes the node file of a disk that was not booted yet, behind the
// back of the desk, which would refuse it.
func editNode(t *testing.T, d vm.Disk, edit func(n map[string]any)) {
	t.Helper()
	e, err := d.Extent(vm.Identity)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(d.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	part := partition{f, e.Offset}
	set := bornWith(t, d)
	var n map[string]any
	if err := json.Unmarshal(set["node.json"], &n); err != nil {
		t.Fatal(err)
	}
	edit(n)
	if set["node.json"], err = json.MarshalIndent(n, "", "  "); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(identity.Write(part, set), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// bornWith is what makes a node itself, as it was flashed.
func bornWith(t *testing.T, d vm.Disk) identity.Set {
	t.Helper()
	e, err := d.Extent(vm.Identity)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	set, err := identity.Read(partition{f, e.Offset})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// partition is a part of a disk image, as identity.Device.
type partition struct {
	*os.File
	offset int64
}

func (p partition) ReadAt(b []byte, off int64) (int, error)  { return p.File.ReadAt(b, p.offset+off) }
func (p partition) WriteAt(b []byte, off int64) (int, error) { return p.File.WriteAt(b, p.offset+off) }

// project waits until the node's report of a project is as wanted.
func project(t *testing.T, m *vm.VM, name, what string, ok func(status.Project) bool) {
	t.Helper()
	limit, tick := time.After(4*time.Minute), time.NewTicker(500*time.Millisecond)
	defer tick.Stop()
	for {
		r := nodeReport(t, m)
		i := slices.IndexFunc(r.Projects, func(p status.Project) bool { return p.Name == name })
		if i >= 0 && ok(r.Projects[i]) {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("project %s is not %s: %+v", name, what, r.Projects)
		}
	}
}

// What goes wrong around a node keeps it from nothing else: its file has keys and
// a project that only a newer release knows, its battery clock is at 1970 and no
// time server answers, and its upstream vanishes in the middle and comes back.
func TestNodeCarriesOn(t *testing.T) {
	t.Parallel()
	dir, up := upstream(t, demo.LargeSize)
	m := vm.Prepare(t, vm.Config{Image: nodeOf(t, up, Shipped), Clock: time.Date(1970, 1, 1, 0, 10, 0, 0, time.UTC)})
	editNode(t, m.Disk(), func(n map[string]any) {
		n["from_the_future"] = map[string]any{"level": 11}
		n["projects"] = append(n["projects"].([]any), "distribution-of-2031")
	})
	m.PowerOn()
	m.Wait(`mm syncd: demo-debian: published`)
	m.Get("/demo-debian/dists/demo/InRelease")
	for _, text := range []string{"from_the_future", "distribution-of-2031"} {
		if said(m, text) == 0 {
			t.Errorf("the console does not tell of %s in the node file", text)
		}
	}

	up.Close() // demo-files with its 1 GiB is on its way
	project(t, m, demo.Files, "failed with a reason and a next try", func(p status.Project) bool {
		return p.Error != "" && !p.NextSchedule.IsZero()
	})
	m.Get("/demo-debian/dists/demo/InRelease")

	up, err := demo.Serve(t.Context(), dir, up.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	project(t, m, demo.Files, "syncing again", func(p status.Project) bool {
		return p.Status == "syncing" && p.Progress != nil && p.Progress.BytesDone > 0
	})
}

// A battery clock far in the future does not make the node think itself ill.
func TestClockOf2099(t *testing.T) {
	t.Parallel()
	m := vm.Start(t, vm.Config{Image: baseImage(t, Shipped), Clock: time.Date(2099, 12, 31, 23, 50, 0, 0, time.UTC)})
	serves(t, m)
	m.Wait(`mm updated: slot a healthy, re-armed`)
}
