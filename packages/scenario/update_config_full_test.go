//go:build vm && full

package scenario

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"micromirror/packages/repository"
)

// publishNode publishes the node's file, edited, and returns it.
func (f *field) publishNode(edit func(n map[string]any)) []byte {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.office.Dir, "nodes", "demo.json"))
	if err != nil {
		f.t.Fatal(err)
	}
	var n map[string]any
	if err := json.Unmarshal(b, &n); err != nil {
		f.t.Fatal(err)
	}
	edit(n)
	if b, err = json.MarshalIndent(n, "", "  "); err != nil {
		f.t.Fatal(err)
	}
	if _, err := f.office.Repository.SetConfig(f.t.Context(), map[string][]byte{repository.NodeTarget("demo"): b}); err != nil {
		f.t.Fatal(err)
	}
	return b
}

// A node obeys a configuration that comes over the air; one that costs it its
// gateway it takes back by itself, and stays with the one before.
func TestConfigurationOverTheAir(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.m.Wait(`mm updated: slot a healthy, re-armed`)
	good := f.publishNode(func(n map[string]any) {
		n["sponsor"] = map[string]any{"name": "Somebody Else", "url": "https://else.example/"}
	})
	f.m.Wait(`mm updated: configuration [0-9a-f]{8} on trial`)
	f.m.Wait(`mm updated: configuration [0-9a-f]{8} is good`)
	if page := f.m.Get("/"); !strings.Contains(string(page), "Somebody Else") {
		t.Errorf("the new sponsor is not on the front page:\n%s", page)
	}

	f.publishNode(func(n map[string]any) {
		n["addresses"], n["gateways"], n["dns"] = []string{"10.0.2.15/24"}, []string{"10.0.2.77"}, []string{"10.0.2.3"}
	})
	f.m.Wait(`mm updated: configuration [0-9a-f]{8} on trial`)
	f.m.Wait(`mm updated: configuration [0-9a-f]{8} failed: .*gateway.*, returning to the previous one`)
	f.m.Wait(`mm netd: address 10\.0\.2\.15/24 on wan0 gateway 10\.0\.2\.2`)
	f.m.Get("/")
	f.m.Shutdown()
	f.has("node.json", good)
	if bad := f.saved().Config.Bad; len(bad) != 1 {
		t.Errorf("the node remembers %d bad configurations, want one: %+v", len(bad), bad)
	}
}

// has compares a file of the node's directory on a disk that is off.
func (f *field) has(name string, want []byte) {
	f.t.Helper()
	dir := f.t.TempDir()
	if err := f.m.Disk().ExtractPerm("/node", dir); err != nil {
		f.t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "node", name))
	if err != nil || string(got) != string(want) {
		f.t.Errorf("%s is (%v)\n%s\nwant\n%s", name, err, got, want)
	}
}
