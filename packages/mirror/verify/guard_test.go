package verify

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"micromirror/packages/mirror/mirrortest"
)

// TestGuard replaces files of an archive whose indexes stay as they are.
func TestGuard(t *testing.T) {
	good := []string{"pool/a.deb: package a", "pool/b.deb: package b", "dists/x/main/Packages: " + packages,
		"dists/x/Release: " + release(map[string]string{"main/Packages": packages})}
	tests := []struct {
		name             string
		change           []string
		content, indexes []string
		want             string
	}{
		{"nothing", nil, nil, nil, ""},
		{"the same list", nil, nil, []string{"dists/x/main/Packages"}, ""},
		{"another list", []string{"dists/x/main/Packages: " + packages + "\n"}, nil, []string{"dists/x/main/Packages"}, "Packages"},
		{"another list that is not replaced", []string{"dists/x/main/Packages: other"}, nil, []string{"dists/x/other"}, ""},
		{"another package", []string{"pool/b.deb: package c"}, []string{"pool/b.deb"}, nil, "another SHA-256 sum"},
		{"another package, of which only the list is asked", []string{"pool/b.deb: package c"}, nil, []string{"pool/b.deb"}, ""},
		{"directory instead", []string{"-pool/b.deb", "pool/b.deb/x: x"}, []string{"pool/b.deb"}, nil, "is not a file"},
		{"index that was never one", []string{"dists/y/Release: SHA256:\n x\n"}, nil, []string{"dists/x/main/Packages"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := mirrortest.TempDir(t)
			mirrortest.Make(t, dir, good...)
			mirrortest.Make(t, dir, tt.change...)
			list, err := (&mirrortest.Upstream{Dir: dir}).List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var unchanged []int
			for i := range list.Len() {
				unchanged = append(unchanged, i)
			}
			expect(t, Guard(Input{
				List: list, Kind: "apt", Fetched: func(int) bool { return true },
				Open: func(i int) (io.ReadCloser, error) { return os.Open(filepath.Join(dir, list.Name(i))) },
			}, unchanged, tt.content, tt.indexes), tt.want)
		})
	}
}
