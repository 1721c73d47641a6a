package filter

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecide(t *testing.T) {
	tests := []struct {
		rules  []string
		hidden []string // a trailing slash marks a directory
		shown  []string
	}{
		{[]string{"- *.o"}, []string{"a.o", "d/a.o", "d.o/"}, []string{"a.c", "o", "d/a.oo"}},
		{[]string{"- /foo"}, []string{"foo", "foo/"}, []string{"d/foo", "foo2"}},
		{[]string{"- foo/"}, []string{"foo/", "a/foo/"}, []string{"foo", "a/foo"}},
		{[]string{"- foo/bar"}, []string{"foo/bar", "x/foo/bar"}, []string{"foo", "bar", "foo/x/bar", "xfoo/bar"}},
		{[]string{"- /foo/*/bar"}, []string{"foo/x/bar"}, []string{"foo/bar", "foo/x/y/bar", "a/foo/x/bar"}},
		{[]string{"- /foo/**/bar"}, []string{"foo/x/bar", "foo/x/y/bar"}, []string{"foo/bar", "a/foo/x/bar"}},
		{[]string{"- foo/**/bar"}, []string{"foo/x/bar", "a/foo/x/bar"}, []string{"foo/bar", "afoo/x/bar"}},
		{[]string{"- **/bar"}, []string{"bar", "a/bar", "a/b/bar"}, []string{"xbar", "bar/x"}},
		{[]string{"- **bar"}, []string{"bar", "xbar", "a/xbar"}, []string{"bar/x"}},
		{[]string{"- foo/***"}, []string{"foo/", "foo/a", "x/foo/", "x/foo/a/b"}, []string{"foo", "xfoo/a"}},
		{[]string{"- a?c"}, []string{"abc"}, []string{"a/c", "ac", "abbc"}},
		{[]string{"- [a-c]x"}, []string{"ax", "cx"}, []string{"dx", "x"}},
		{[]string{"- [!a-c]x"}, []string{"dx", "-x"}, []string{"ax", "/x"}},
		{[]string{"- [^]-]x"}, []string{"dx"}, []string{"]x", "-x"}},
		{[]string{"- [[:digit:]_]x"}, []string{"1x", "_x"}, []string{"ax", ":x"}},
		{[]string{"- [[:nope:]]x", "- [a"}, nil, []string{"nx", "ax", "[a"}},
		{[]string{`- a\*b*`}, []string{"a*b", "a*bc"}, []string{"aXb", `a\*b`}},
		{[]string{`- a\b`}, []string{`a\b`}, []string{"ab"}},
		{[]string{"+ */", "+ *.c", "- *"}, []string{"a.o", "d/a.o"}, []string{"d/", "a.c", "d/a.c"}},
		{[]string{"-! */"}, []string{"a", "d/a"}, []string{"d/", "d/e/"}},
		{[]string{"P keep", "R .~tmp~"}, nil, []string{"keep", ".~tmp~"}},
		{[]string{"H foo", "hide bar", "exclude,s baz"}, []string{"foo", "bar", "baz"}, nil},
		{[]string{"-r foo", "-x bar"}, nil, []string{"foo", "bar"}},
		{[]string{"- foo", "!"}, nil, []string{"foo"}},
		{[]string{"-_a b", "exclude_c"}, []string{"a b", "c"}, []string{"a", "b"}},
		{[]string{"-,p x", "exclude,! y"}, []string{"x", "z"}, []string{"y"}},
		{[]string{"- /"}, nil, []string{"a", "a/"}},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.rules, ";"), func(t *testing.T) {
			l, err := Parse(tt.rules...)
			if err != nil {
				t.Fatal(err)
			}
			check := func(names []string, want bool) {
				for _, n := range names {
					name, dir := strings.CutSuffix(n, "/")
					if got := l.Hidden(name, dir); got != want {
						t.Errorf("Hidden(%q) = %v, want %v", n, got, want)
					}
				}
			}
			check(tt.hidden, true)
			check(tt.shown, false)
		})
	}
}

func TestRefused(t *testing.T) {
	for _, text := range []string{
		"", "-", "- ", "x foo", "merge file", ". file", ": .rules", "dir-merge,n- x", "-C", "+C ",
		"-q x", "Ps x", "! x", "includex y", "- a\x00b", "- " + strings.Repeat("a", MaxRule),
	} {
		if _, err := Parse(text); err == nil {
			t.Errorf("Parse(%q) succeeded, want an error", clip(text))
		}
	}
	if _, err := Parse(": .rsync-filter"); !errors.Is(err, ErrUnsupported) {
		t.Errorf("dir-merge: got %v, want ErrUnsupported", err)
	}
}

func TestBounds(t *testing.T) {
	var l List
	var err error
	for range MaxRules + 1 {
		if err = l.Exclude("x"); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrTooMany) || l.Len() != MaxRules {
		t.Errorf("after %d rules: got %v, want ErrTooMany at %d", l.Len(), err, MaxRules)
	}
}

func TestProtected(t *testing.T) {
	l, err := Parse("P /trace/", "R .~tmp~", "- *.log", "H secret")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, n := range []string{"trace", ".~tmp~", "a.log", "secret", "other"} {
		got[n] = l.Protected(n, true)
	}
	want := map[string]bool{"trace": true, ".~tmp~": false, "a.log": true, "secret": false, "other": false}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Protected (-want +got):\n%s", diff)
	}

	excluding := List{DeleteExcluded: true}
	if err := excluding.Exclude("*.log"); err != nil {
		t.Fatal(err)
	}
	if !excluding.Hidden("a.log", false) || excluding.Protected("a.log", false) {
		t.Error("with DeleteExcluded an exclude must hide and not protect")
	}
}

func TestExcludeModule(t *testing.T) {
	var l List
	for _, p := range []string{".snapshot/", ".~tmp~/", "/.private/", "**/.nfs*", "a/b"} {
		if err := l.ExcludeModule(p); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{
		".snapshot/": true, "x/.snapshot/": true, "x/.snapshot/y": true, ".snapshot": false,
		".private/": true, "x/.private/": false, ".nfs1": true, "x/.nfs1": true, "x": false,
		"a/b": true, "x/a/b": true, "x/b": false,
	} {
		bare, dir := strings.CutSuffix(name, "/")
		if got := l.Hidden(bare, dir); got != want {
			t.Errorf("Hidden(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestRoot(t *testing.T) {
	l, err := Parse("-/ /dists/sid", "- /sid")
	if err != nil {
		t.Fatal(err)
	}
	l.Root = "dists"
	if !l.Hidden("sid", true) || l.Hidden("x/sid", true) {
		t.Error("a rule with / must match from the module's root")
	}
	l.Root = "pool"
	if l.rules = l.rules[:1]; l.Hidden("sid", true) {
		t.Error("a rule with / matched below another root")
	}
}

func TestWire(t *testing.T) {
	l, err := Parse("- *.o", "+ a/", "P x", "H y", "-! z", "-p q", "-sr both", "- - odd")
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.Wire(31)
	want := []string{"- *.o", "+ a/", "-s y", "-! z", "-p q", "-sr both", "- - odd"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Wire(31): %v (-want +got):\n%s", err, diff)
	}
	if _, err := l.Wire(28); !errors.Is(err, ErrTooModern) {
		t.Errorf("Wire(28) with a negated rule: got %v, want ErrTooModern", err)
	}
	old, err := Parse("- *.o", "+ a/", "H y", "- - odd", "- + odd")
	if err != nil {
		t.Fatal(err)
	}
	got, err = old.Wire(28)
	want = []string{"*.o", "+ a/", "y", "- - odd", "- + odd"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Wire(28): %v (-want +got):\n%s", err, diff)
	}
}

// A pattern on which backtracking takes the product of many lengths ends.
func TestHostilePattern(t *testing.T) {
	pattern := "- **" + strings.Repeat("a*", 1500) + "b"
	name := strings.Repeat("a", 4000)
	l, err := Parse(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if l.Hidden(name, false) {
		t.Error("matched")
	}
	if !l.Hidden(name+"b", false) {
		t.Error("did not match")
	}
}
