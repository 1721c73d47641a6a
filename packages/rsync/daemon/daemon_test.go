package daemon

import (
	"fmt"
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
}

// small is a tree with one of everything.
func small(t testing.TB) string {
	root := filepath.Join(t.TempDir(), "src")
	tree(t, root, map[string]string{
		"index.html": "hello", "empty": "", "pool/a/a_1.deb": strings.Repeat("a", 5000),
		"pool/a/a_2.deb": strings.Repeat("xyz", 70000), "pool/b.deb": "b", "pool/a-b/c": "c",
		"dists/trixie/Release": "release", "dists/stable": "->trixie", "dists/broken": "->nowhere",
		"pool/hard1": "linked", "pool/a/hard2": "=pool/hard1", "zz/hard3": "=pool/hard1",
		"odd names/a b:c+~%é": "odd", "odd names/\xff\xfe": "raw", "emptydir/": "",
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

func TestPull(t *testing.T) {
	root := small(t)
	addr := start(t, Config{Modules: []Module{mirrorModule(root)}})
	want := filepath.Join(t.TempDir(), "want")
	must(t, "-aH", "--exclude=.~tmp~/", "--exclude=/.private/", "--exclude=.nfs*", "--exclude=secret", "--exclude=unreadable", root+"/", want)
	for protocol := 27; protocol <= 32; protocol++ {
		t.Run(fmt.Sprint(protocol), func(t *testing.T) {
			dst := filepath.Join(t.TempDir(), "dst")
			out := must(t, "-aHv", fmt.Sprintf("--protocol=%d", protocol), "rsync://"+addr+"/mirror/", dst)
			if protocol < 31 {
				// No fractions of seconds: let the reference have none.
				old := filepath.Join(t.TempDir(), "old")
				must(t, "-aH", want+"/", old)
				truncate(t, old)
				sameTree(t, old, dst)
			} else {
				sameTree(t, want, dst)
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

// truncate drops the fractions of all times.
func truncate(t testing.TB, root string) {
	t.Helper()
	err := filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.Mode()&os.ModeSymlink != 0 {
			return err
		}
		return os.Chtimes(path, info.ModTime().Truncate(time.Second), info.ModTime().Truncate(time.Second))
	})
	if err != nil {
		t.Fatal(err)
	}
}
