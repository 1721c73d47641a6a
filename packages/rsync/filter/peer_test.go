package filter

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAgainstRsync lists generated trees with generated rules, by the installed
// rsync and by a walk that asks a List, and wants the same names.
func TestAgainstRsync(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	root := t.TempDir()
	makeTree(t, rng, root, 3)
	for range 150 {
		rules := makeRules(rng)
		l, err := Parse(rules...)
		if err != nil {
			t.Fatalf("%q: %v", rules, err)
		}
		l.Root = strings.TrimPrefix(root, "/") // without a module, "/" means the file system's root
		want, got := listByRsync(t, root, rules), listByWalk(t, root, l)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("rules %q (-rsync +ours):\n%s", rules, diff)
		}
	}
}

var nameParts = []string{"a", "b", "ab", "ba", "foo", "bar", "x.c", "x.o", "[a]", "a-b", "A1", "*", "_", "."}

func makeTree(t *testing.T, rng *rand.Rand, dir string, depth int) {
	t.Helper()
	for range 8 {
		name := nameParts[rng.IntN(len(nameParts))] + nameParts[rng.IntN(len(nameParts))]
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err == nil || name == ".." {
			continue
		}
		if depth > 0 && rng.IntN(2) == 0 {
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
			makeTree(t, rng, path, depth-1)
		} else if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

var (
	rulePrefixes = []string{"- ", "- ", "- ", "+ ", "H ", "S ", "P ", "R ", "-! ", "-s ", "+r ", "-sr ", "exclude,p ", "-/ "}
	patternParts = []string{
		"a", "b", "foo", "bar", "x", ".c", ".o", "*", "*", "*", "**", "***", "?", "/", "/", "[ab]", "[!a]", "[a-c]",
		"[[:alpha:]]", "[[:upper:][:digit:]]", `\*`, `\[`, "[]a]", "[", "[a-", "-", "_", `[\]a]`, "[[:x:]]", "[:]",
	}
)

func makeRules(rng *rand.Rand) []string {
	rules := make([]string, 1+rng.IntN(4))
	for i := range rules {
		var b strings.Builder
		b.WriteString(rulePrefixes[rng.IntN(len(rulePrefixes))])
		for range 1 + rng.IntN(5) {
			b.WriteString(patternParts[rng.IntN(len(patternParts))])
		}
		rules[i] = b.String()
	}
	return rules
}

func listByRsync(t *testing.T, root string, rules []string) []string {
	t.Helper()
	args := []string{"-r", "--list-only", "-8"}
	for _, r := range rules {
		args = append(args, "--filter="+r)
	}
	out, err := exec.Command("rsync", append(args, root+"/")...).Output()
	if err != nil {
		t.Fatalf("rsync %q: %v", args, err)
	}
	names := []string{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.SplitN(strings.Join(strings.Fields(lines.Text()), " "), " ", 5)
		if len(fields) == 5 && fields[4] != "." {
			names = append(names, fields[4])
		}
	}
	slices.Sort(names)
	return names
}

func listByWalk(t *testing.T, root string, l *List) []string {
	t.Helper()
	names := []string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name := strings.TrimPrefix(path, root+"/")
		if l.Hidden(name, d.IsDir()) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		names = append(names, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func BenchmarkHidden(b *testing.B) {
	for _, rule := range []string{"- .~tmp~/", "- **/.nfs*", "- *.foo", "- /pool/**/x[a-c]*"} {
		b.Run(fmt.Sprintf("%q", rule), func(b *testing.B) {
			l, err := Parse(rule)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				l.Hidden("pool/main/libx/libx11/libx11-6_1.8.12-1_amd64.deb", false)
			}
		})
	}
}
