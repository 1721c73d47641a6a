package filter

import "testing"

// FuzzRule gives arbitrary rules and names to both matchers: neither may panic
// and they must agree. What a rule says on the wire must mean the same.
func FuzzRule(f *testing.F) {
	for _, seed := range []string{"- *.o", "+ a/**/[!b-d]?", "H,! x/***", "P [[:alpha:]]\\*", "!", "- **/a*b**c"} {
		f.Add(seed, "dir/a.o", uint8(31), true)
		f.Add(seed, "a/b/c", uint8(28), false)
	}
	f.Fuzz(func(t *testing.T, text, name string, protocol uint8, dir bool) {
		var l List
		if err := l.AddWire(text, int(protocol)); err != nil {
			return
		}
		hidden := l.Hidden(name, dir)
		for i := range l.rules {
			p := &l.rules[i].pattern
			if fast, slow := glob(p.tokens, name, dir), globBounded(p.tokens, name, dir); p.wild && fast != slow {
				t.Errorf("glob(%q, %q, %v) = %v, bounded %v", p.body, name, dir, fast, slow)
			}
		}
		sent, err := l.Wire(int(protocol))
		if err != nil {
			return
		}
		var again List
		for _, line := range sent {
			if err := again.AddWire(line, int(protocol)); err != nil {
				t.Fatalf("rule %q sent as %q: %v", text, line, err)
			}
		}
		if len(sent) == l.Len() && again.Hidden(name, dir) != hidden {
			t.Errorf("rule %q sent as %q: Hidden(%q) differs", text, sent, name)
		}
	})
}
