// Package scenario holds the tests that boot the real image, and what they share:
// a node's disk image made from the demo fleet, the demo upstream, and ways to
// damage a slot.
//
// The tests carry the build tag vm (the everyday ones, `make test`) or vm and
// full (the long matrices, `make test-full`). They need releases that
// `go run ./cmd/build release`, with and without `-tags faults`, left in build/.
//
// Files owned: build/scenario/, removed and made again as needed.
package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"micromirror/packages/desk"
	"micromirror/packages/release"
	"micromirror/packages/slot"
	"micromirror/packages/verity"
	"micromirror/packages/vm"
)

// Kind says which release an image holds.
type Kind string

// The kinds of release: the one that ships, and the one with fault points.
const (
	Shipped Kind = "release"
	Faults  Kind = "release-faults"
)

// Dir is the release's folder.
func (k Kind) Dir() (string, error) {
	build, err := vm.BuildDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(build, string(k))
	if _, err := release.Read(dir); err != nil {
		return "", fmt.Errorf("%w (make test builds it)", err)
	}
	return dir, nil
}

// ImageOptions change the demo node that an image is for.
type ImageOptions struct {
	Kind     Kind
	Release  string                 // folder of another release than the kind's
	Office   *Office                // the fleet's desk; nil for a node that takes no updates
	Upstream string                 // host:port of an rsync daemon as the node sees it; "" for one that refuses
	Node     func(n map[string]any) // edits the node file
	Fleet    func(f map[string]any) // edits the fleet file
	Size     int64                  // default 4 GiB
}

// Image writes the disk image of a demo node to out.
func Image(ctx context.Context, out string, o ImageOptions) error {
	rel, err := o.Kind.Dir()
	if err != nil {
		return err
	}
	demo := filepath.Join(rel, "..", "..", "images", "demo")
	if o.Release != "" {
		rel = o.Release
	}
	if o.Upstream == "" {
		o.Upstream = "10.0.2.2:1"
	}
	if o.Size == 0 {
		o.Size = 4 << 30
	}
	var fleet string
	if o.Office != nil {
		fleet = o.Office.Dir
	} else {
		if fleet, err = os.MkdirTemp(filepath.Dir(out), "fleet"); err != nil {
			return err
		}
		defer os.RemoveAll(fleet)
	}
	if err := writeFleet(fleet, demo, o); err != nil {
		return err
	}
	return desk.Image(ctx, desk.ImageOptions{
		Fleet: desk.Fleet(fleet), Node: "demo", Release: rel, Size: o.Size, Out: out,
	})
}

// writeFleet copies the demo fleet into dir, edited.
func writeFleet(dir, demo string, o ImageOptions) error {
	if err := os.MkdirAll(filepath.Join(dir, "nodes"), 0o755); err != nil {
		return err
	}
	for name, edit := range map[string]func(map[string]any){"fleet.json": o.Fleet, "nodes/demo.json": o.Node} {
		data, err := os.ReadFile(filepath.Join(demo, name))
		if err != nil {
			return err
		}
		var v map[string]any
		if err := json.Unmarshal(data, &v); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if name == "fleet.json" {
			v["upstream"] = o.Upstream
			if o.Office != nil {
				v["update"] = map[string]any{"urls": []string{o.Office.URL}}
			}
		}
		if edit != nil {
			edit(v)
		}
		if data, err = json.MarshalIndent(v, "", "  "); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Entry reads a slot's boot loader entry from a disk that is off, with its path.
func Entry(d vm.Disk, n slot.Name) (slot.Entry, string, error) {
	names, err := d.ESPList("loader/entries")
	if err != nil {
		return slot.Entry{}, "", err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, n.Dir()) {
			continue
		}
		path := "loader/entries/" + name
		body, err := d.ESPRead(path)
		if err != nil {
			return slot.Entry{}, "", err
		}
		e, err := slot.ParseEntry(name, body)
		return e, path, err
	}
	return slot.Entry{}, "", fmt.Errorf("no entry of slot %s among %v", n, names)
}

// EditEntry replaces a slot's entry by what edit makes of it.
func EditEntry(d vm.Disk, n slot.Name, edit func(slot.Entry) slot.Entry) error {
	e, path, err := Entry(d, n)
	if err != nil {
		return err
	}
	e = edit(e)
	if err := d.ESPRemove(path); err != nil {
		return err
	}
	return d.ESPWrite("loader/entries/"+e.FileName(), e.Body())
}

// EmptyRoot writes a root file system without anything in it, with a valid hash
// tree, into root A, and points slot a's entry at it.
func EmptyRoot(ctx context.Context, d vm.Disk, work string) error {
	empty := filepath.Join(work, "empty")
	if err := os.MkdirAll(empty, 0o755); err != nil {
		return err
	}
	img := filepath.Join(work, "empty.squashfs")
	cmd := exec.CommandContext(ctx, "mksquashfs", empty, img, "-noappend", "-quiet", "-no-progress")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mksquashfs: %w: %s", err, out)
	}
	tree, err := verity.Append(img)
	if err != nil {
		return err
	}
	f, err := os.Open(img)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	if err := d.WriteAt(vm.RootA, 0, data); err != nil {
		return err
	}
	return EditEntry(d, slot.A, func(e slot.Entry) slot.Entry {
		words := strings.Fields(e.Options)
		for i, w := range words {
			if strings.HasPrefix(w, "verity=") {
				words[i] = "verity=" + tree.String()
			}
		}
		e.Options = strings.Join(words, " ")
		return e
	})
}
