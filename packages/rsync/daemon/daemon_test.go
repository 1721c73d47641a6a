package daemon

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// tree makes files: "name" → content; names that end in a slash are
// directories, contents that start with "->" links, with "=" hard links.
func tree(t testing.TB, root string, files map[string]string) {
	t.Helper()
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	links := map[string]string{}
	at := time.Unix(1_700_000_000, 123_456_789)
	for name, content := range files {
		path := filepath.Join(root, name)
		check(os.MkdirAll(filepath.Dir(path), 0o755))
		switch {
		case strings.HasSuffix(name, "/"):
			check(os.MkdirAll(path, 0o755))
		case strings.HasPrefix(content, "->"):
			check(os.Symlink(content[2:], path))
		case strings.HasPrefix(content, "="):
			links[path] = filepath.Join(root, content[1:])
		default:
			check(os.WriteFile(path, []byte(content), 0o644))
			check(os.Chtimes(path, at, at))
			at = at.Add(1001 * time.Millisecond)
		}
	}
	for path, to := range links {
		check(os.Link(to, path))
	}
	settle(t, root, at)
}

// settle gives all directories a time that has nothing to do with when the test
// ran.
func settle(t testing.TB, root string, at time.Time) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		at = at.Add(1001 * time.Millisecond)
		return os.Chtimes(path, at, at)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// small is a tree with one of everything.
func small(t testing.TB) string {
	root := filepath.Join(t.TempDir(), "src")
	tree(t, root, map[string]string{
		"index.html": "hello", "empty": "", "pool/a/a_1.deb": strings.Repeat("a", 5000),
		"pool/a/a_2.deb": strings.Repeat("xyz", 70000), "pool/b.deb": "b", "pool/a-b/c": "c",
		"dists/trixie/Release": "release", "dists/stable": "->trixie", "dists/broken": "->nowhere",
		"pool/hard1": "linked", "pool/a/hard2": "=pool/hard1", "zz/hard3": "=pool/hard1",
		"odd names/a b:c+~%é": "odd", "odd names/\xff\xfe": "raw", "emptydir/": "", "!first": "1", "+plus/x": "p", "-minus": "m", ".hidden": "h", "pool/!a": "2",
		".~tmp~/partial": "no", "pool/.nfs0001": "no", ".private/x": "no", "pool/secret/x": "no", "pool/unreadable": "no",
	})
	for _, name := range []string{"pool/secret", "pool/unreadable"} {
		if err := os.Chmod(filepath.Join(root, name), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func mirrorModule(path string) Module {
	return Module{Name: "mirror", Comment: "A mirror", Path: path,
		Exclude: []string{".snapshot/", ".~tmp~/", "/.private/", "**/.nfs*"}}
}

func TestListModules(t *testing.T) {
	addr := start(t, Config{MOTD: "Welcome", Modules: []Module{
		mirrorModule(t.TempDir()), {Name: "hidden", Path: "/x", Hidden: true}, {Name: "averyveryverylongname", Comment: "c", Path: "/x"},
	}})
	got := must(t, "rsync://"+addr+"/")
	want := "Welcome\n\nmirror         \tA mirror\naveryveryverylongname\tc\n"
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}
