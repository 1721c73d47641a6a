package plan

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/mirror/mirrortest"
	"micromirror/packages/mirror/tree"
	"micromirror/packages/project"
)

// write plans the way from the tree of have to that of want and returns the plan
// without its checksums.
func write(t *testing.T, have, want []string, failed ...string) string {
	t.Helper()
	dir := mirrortest.TempDir(t)
	mirrortest.Make(t, filepath.Join(dir, "have"), have...)
	mirrortest.Make(t, filepath.Join(dir, "want"), want...)
	upstream := &mirrortest.Upstream{Dir: filepath.Join(dir, "want")}
	list, err := upstream.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	root, err := tree.Open(filepath.Join(dir, "have"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	demo := project.Complete("demo", project.Project{Kind: "apt"})
	p, err := Make(Input{
		List: list, Tree: root, Phase: demo.Phase, Escapes: Escapes(demo.Path, false),
		Own: func(name string) bool { return name == "own" }, Now: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	bad := map[int]bool{}
	for _, name := range failed {
		i, _ := list.Find(name)
		bad[i] = true
	}
	var b bytes.Buffer
	if err := p.Write(&b, "demo", func(i int) string { return "new/" + list.Base(i) }, bad, len(bad) == 0); err != nil {
		t.Fatal(err)
	}
	var lines []string
	h, err := Read(&b, func(o Op) error {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s", o.Verb, o.Path, o.Source)))
		return nil
	})
	if err != nil || h.Project != "demo" || h.Complete != (len(failed) == 0) {
		t.Fatalf("read back: %+v, %v", h, err)
	}
	return strings.Join(lines, "\n")
}

func TestOrder(t *testing.T) {
	tests := []struct {
		name       string
		have, want []string
		failed     []string
		plan       string
	}{
		{"nothing", []string{"a: x"}, []string{"a: x"}, nil, ""},
		{"phases", []string{"own: mine"}, []string{
			"dists/s/InRelease: top", "dists/s/Packages: index", "pool/z: content", "pool/a = pool/z", "pool/l -> a", "dists/l -> s",
		}, nil, `dir dists
dir dists/s
dir pool
file pool/a new/a
hard pool/z pool/a
link pool/l a
switch .
file dists/s/Packages new/Packages
link dists/l s
file dists/s/InRelease new/InRelease
settle .
time pool
time dists/s
time dists
time .`},
		{"partial", []string{"gone: x"}, []string{"dists/s/InRelease: top", "pool/a: content", "pool/b: other", "pool/c = pool/b"}, []string{"pool/b"}, `dir dists
dir dists/s
dir pool
file pool/a new/a
time pool
time dists/s
time dists
time .`},
		{"deletions", []string{"dists/s/InRelease: top", "dists/s/Packages: i", "dists/x: y", "pool/a: content", "k: k"}, []string{"k: k", "dists/x: y", "pool/"}, nil, `drop dists/s
drop pool/a
time pool
time dists`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := write(t, tt.have, tt.want, tt.failed...)
			// A directory that was only read keeps its time, or not: what matters
			// is the order of what is there.
			if diff := cmp.Diff(strings.Split(tt.plan, "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestReadRefusesDamage(t *testing.T) {
	var b bytes.Buffer
	p := &Plan{}
	if err := p.Write(&b, "demo", nil, nil, true); err != nil {
		t.Fatal(err)
	}
	whole := b.String()
	tests := map[string]string{
		"empty":       "",
		"no end":      strings.SplitAfter(whole, "\n")[0],
		"cut":         whole[:len(whole)-3],
		"wrong sum":   strings.Replace(whole, "demo", "dem0", 1),
		"other magic": strings.Replace(whole, magic, "micromirror-plan 9", 1),
	}
	for name, line := range map[string]string{
		"escapes":     `file 644 1 0 0 "../x" "new/x"`,
		"absolute":    `file 644 1 0 0 "/x" "new/x"`,
		"bad source":  `file 644 1 0 0 "x" "../../etc/shadow"`,
		"hard out":    `hard 0 1 0 0 "x" "../y"`,
		"set-user-ID": `file 4755 1 0 0 "x" "new/x"`,
		"unknown":     `exec 0 0 0 0 "x" ""`,
		"root":        `drop 0 0 0 0 "." ""`,
		"negative":    `file 644 -1 0 0 "x" "new/x"`,
		"not quoted":  `drop 0 0 0 0 x y`,
	} {
		tests[name] = magic + " \"demo\" true\n" + line + "\nend 2 00000000\n"
	}
	for name, text := range tests {
		if _, err := Read(strings.NewReader(text), func(Op) error { return nil }); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: error = %v, want %v", name, err, ErrFormat)
		}
	}
}

func TestGoneFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gone")
	want := map[string]time.Time{"a/b": time.Unix(5, 0), "odd \xff\n": time.Unix(1<<33, 0)}
	if err := SaveGone(file, "demo", want); err != nil {
		t.Fatal(err)
	}
	got, err := LoadGone(file)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, -want +got\n%s", err, diff)
	}
	if got, err := LoadGone(file + ".none"); err != nil || len(got) != 0 {
		t.Errorf("missing file: %v, %v", got, err)
	}
}

// FuzzRead shows that whatever a file says, only clean paths come out, and that
// operations survive a round trip.
func FuzzRead(f *testing.F) {
	f.Add([]byte(magic + " \"demo\" true\nfile 644 12 1700000000 5 \"a/b\" \"new/0\"\nend 2 00000000\n"))
	f.Add([]byte(magic + " \"demo\" true\nlink 0 0 1 0 \"a\\xff\" \"../b\"\ntime 40755 0 1 0 \".\" \"\"\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		Read(bytes.NewReader(data), func(o Op) error {
			if !tree.Clean(o.Path) && !(o.Path == "." && o.Verb == Time) {
				t.Errorf("unclean path %q", o.Path)
			}
			line := string(o.append(nil))
			again, err := parseOp(strings.TrimSuffix(line, "\n"))
			if err != nil || again != o {
				t.Errorf("%+v became %q, then %+v, %v", o, line, again, err)
			}
			return nil
		})
	})
}
