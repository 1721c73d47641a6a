package sender

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"micromirror/packages/rsync/filter"
)

// plant makes a tree: names that end in a slash are directories, contents that
// start with "->" links, with "=" hard links to a file named before.
func plant(t testing.TB, entries ...string) *os.File {
	t.Helper()
	root := t.TempDir()
	for _, e := range entries {
		name, content, _ := strings.Cut(e, ":")
		path := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			switch {
			case strings.HasSuffix(name, "/"):
				err = os.MkdirAll(path, 0o755)
			case strings.HasPrefix(content, "->"):
				err = os.Symlink(content[2:], path)
			case strings.HasPrefix(content, "="):
				err = os.Link(filepath.Join(root, content[1:]), path)
			default:
				err = os.WriteFile(path, []byte(content), 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir
}

func scanned(t testing.TB, root *os.File, excludes ...string) *Tree {
	t.Helper()
	l := new(filter.List)
	for _, e := range excludes {
		if err := l.ExcludeModule(e); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := Scan(t.Context(), root, ScanOptions{Exclude: l})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// usual is a tree with all kinds of entries and of trouble.
func usual(t testing.TB) *os.File {
	return plant(t, "b:1", "a/x:22", "a/y/z:333", "a-b/c:4444", "a.d:5", "e/:", "l1:->a", "l2:->../out", "l3:->/etc/passwd",
		"l4:->nowhere", "loop/self:->.", "loop/up:->..", "h1:link", "a/h2:=h1", "big:"+strings.Repeat("0123456789", 30_000))
}

// names lists a selection in sending order.
func (s *selection) names() []string {
	var out []string
	s.each(func(n *namer, node uint32, _ view) error {
		out = append(out, n.name(node))
		return nil
	})
	return out
}

func filterOf(rule string) (*filter.List, error) { return filter.Parse(rule) }
