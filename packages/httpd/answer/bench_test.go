package answer

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"micromirror/packages/httpd/listing"
	"micromirror/packages/httpd/tree"
)

// BenchmarkListing renders a directory of 50,000 entries from scratch.
func BenchmarkListing(b *testing.B) {
	dir := b.TempDir()
	for i := range 50000 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("package-name-%05d_1.2.3-4_amd64.deb", i)), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	t, err := tree.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer t.Close()
	f, err := t.Lookup(".")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	s := &Site{Tree: t}
	for b.Loop() {
		entries, err := t.ReadDir(f, nil)
		if err != nil {
			b.Fatal(err)
		}
		listing.Sort(entries, listing.Order{Column: 'N'})
		if len(listing.HTML(s.Page, ".", "", entries, listing.Order{Column: 'N'})) < 5_000_000 {
			b.Fatal("listing is too short")
		}
	}
}
