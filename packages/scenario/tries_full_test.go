//go:build vm && full

package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"micromirror/packages/durable"
	"micromirror/packages/release"
	"micromirror/packages/slot"
	"micromirror/packages/vm"
)

const badSlotTries = slot.TrialTries

var syncPhases = []string{"list", "fetch", "verify", "journal", "publish", "switch", "index", "settle", "delete"}

// run is t.Run for a case of a long matrix: it tells how it goes, and does not
// repeat a case that has passed with this very release before.
func run(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	r, err := openRecord()
	if err != nil {
		t.Fatal(err)
	}
	full := t.Name() + "/" + name
	if r.has(full) {
		fmt.Printf("%s: passed earlier\n", full)
		return
	}
	t.Run(name, func(t *testing.T) {
		begin := time.Now()
		t.Cleanup(func() {
			if t.Failed() {
				fmt.Printf("%s: FAILED after %v\n", full, time.Since(begin).Round(time.Second))
				return
			}
			if err := r.add(full); err != nil {
				t.Error(err)
			}
			fmt.Printf("%s: passed after %v\n", full, time.Since(begin).Round(time.Second))
		})
		f(t)
	})
}

// record is the file that remembers which cases have passed with a release.
type record struct{ path, release string }

// recordLock keeps the file's readers and writers apart: cases run in parallel.
var recordLock sync.Mutex

func openRecord() (record, error) {
	build, err := vm.BuildDir()
	if err != nil {
		return record{}, err
	}
	dir, err := Faults.Dir()
	if err != nil {
		return record{}, err
	}
	rel, err := release.Read(dir)
	if err != nil {
		return record{}, err
	}
	// A version names a commit; what was built from a changed tree differs in its root.
	id := fmt.Sprintf("%s %.12s", rel.Version, rel.Root.SHA256)
	dir = filepath.Join(build, "scenario")
	return record{filepath.Join(dir, "full.json"), id}, os.MkdirAll(dir, 0o755)
}

// cases is the content of the file.
type cases struct {
	Release string   `json:"release"`
	Passed  []string `json:"passed"`
}

func (r record) read() (cases, error) {
	c := cases{Release: r.release}
	b, err := os.ReadFile(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	var old cases
	if err := json.Unmarshal(b, &old); err != nil {
		return c, fmt.Errorf("%s: %w (remove it to begin anew)", r.path, err)
	}
	if old.Release != r.release {
		return c, nil
	}
	return old, nil
}

func (r record) has(name string) bool {
	recordLock.Lock()
	defer recordLock.Unlock()
	c, err := r.read()
	if err != nil {
		fmt.Println(err)
	}
	return slices.Contains(c.Passed, name)
}

func (r record) add(name string) error {
	recordLock.Lock()
	defer recordLock.Unlock()
	c, err := r.read()
	if err != nil {
		return err
	}
	c.Passed = append(c.Passed, name)
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(r.path, b, 0o644)
}
