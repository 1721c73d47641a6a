package figures

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"micromirror/packages/chunk"
	"micromirror/packages/factory"
	"micromirror/packages/release"
)

// changedSource is a further file of the web server's package. What it declares
// moves most of what the linker places after it, as any change does.
const changedSource = `package httpd

import "os"

func init() {
	if len(os.Args) > 1<<20 {
		os.Stderr.WriteString("one daemon has changed\n")
	}
}
`

// buildChanged builds the release, with fault points, from the same sources but
// for one daemon. Call end to remove it.
func buildChanged(ctx context.Context, o Options) (dir string, end func() error, err error) {
	build := factory.Options{Repository: o.Repository, Log: o.Log, Folder: "figures-changed", Tags: []string{"faults"}}
	work := filepath.Join(o.Repository, "build", "work", build.Folder)
	overlay := filepath.Join(o.Repository, "build", "figures-overlay")
	end = func() error { return errors.Join(os.RemoveAll(build.Out()), os.RemoveAll(work), os.RemoveAll(overlay)) }
	defer func() {
		if err != nil {
			err = errors.Join(err, end())
		}
	}()
	list, err := writeOverlay(overlay, filepath.Join(o.Repository, "packages", "httpd", "changed.go"))
	if err != nil {
		return "", nil, err
	}
	build.Env = []string{"GOFLAGS=" + os.Getenv("GOFLAGS") + " -overlay=" + list}
	dir, err = factory.Build(ctx, build)
	return dir, end, err
}

// writeOverlay leaves in dir what tells the go command to see the changed source
// at a place, and returns the name of the list.
func writeOverlay(dir, at string) (list string, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return "", fmt.Errorf("figures: %w", err)
	}
	if at, err = filepath.Abs(at); err != nil {
		return "", fmt.Errorf("figures: %w", err)
	}
	source := filepath.Join(dir, filepath.Base(at))
	data, err := json.Marshal(map[string]map[string]string{"Replace": {at: source}})
	if err != nil {
		return "", fmt.Errorf("figures: %w", err)
	}
	list = filepath.Join(dir, "overlay.json")
	err = errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(source, []byte(changedSource), 0o644), os.WriteFile(list, data, 0o644))
	if err != nil {
		return "", fmt.Errorf("figures: %w", err)
	}
	return list, nil
}

// travel is what a node that runs one release downloads for another: the chunks
// that it has not got, and the indexes that tell it so. All is what a slot holds.
func travel(ctx context.Context, from, to string) (bytes, all int64, err error) {
	for _, name := range []string{release.KernelFile, release.InitrdFile, release.RootFile} {
		missing, size, err := missing(ctx, filepath.Join(from, name), filepath.Join(to, name))
		if err != nil {
			return 0, 0, fmt.Errorf("figures: %w", err)
		}
		bytes, all = bytes+missing, all+size
	}
	return bytes, all, nil
}

func missing(ctx context.Context, from, to string) (travels, size int64, err error) {
	content, err := os.ReadFile(to)
	if err != nil {
		return 0, 0, err
	}
	index, err := chunk.Make(bytes.NewReader(content))
	if err != nil {
		return 0, 0, err
	}
	encoded, err := index.MarshalBinary()
	if err != nil {
		return 0, 0, err
	}
	old, err := os.Open(from)
	if err != nil {
		return 0, 0, err
	}
	defer old.Close()
	st, err := old.Stat()
	if err != nil {
		return 0, 0, err
	}
	plan, err := index.Find(ctx, []chunk.Source{{Name: from, R: old, Size: st.Size()}})
	if err != nil {
		return 0, 0, err
	}
	travels = int64(len(encoded))
	for _, k := range plan.Missing {
		travels += int64(index.Chunks[k].Size)
	}
	return travels, index.Size, nil
}

// downloadFigures words what travels.
func downloadFigures(bytes, all int64) []Figure {
	const group, aim = "update", 15
	return []Figure{
		{Group: group, Name: "download, one daemon changed", Value: float64(bytes) / mib, Unit: "MiB", Note: "missing chunks and the indexes"},
		{Group: group, Name: "the same, of kernel, initrd and root", Value: 100 * float64(bytes) / float64(all), Unit: "%", Aim: aim},
	}
}
