//go:build faults

package fault

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOrdersOfACommandLine(t *testing.T) {
	for cmdline, want := range map[string]Orders{
		"":                         nil,
		"ro quiet":                 nil,
		"mm.fault=initrd-hang":     {"initrd-hang"},
		"ro mm.fault=a,b quiet\n":  {"a", "b"},
		"mm.fault=a ro mm.fault=b": {"a", "b"},
		"xmm.fault=a mm.faults=b":  nil,
	} {
		if d := cmp.Diff(want, Ordered(cmdline)); d != "" {
			t.Errorf("%q (-want +got):\n%s", cmdline, d)
		}
	}
}

func TestHasWholeNames(t *testing.T) {
	o := Ordered("mm.fault=never-bless,quick-proof")
	for name, want := range map[string]bool{"never-bless": true, "quick-proof": true, "never": false, "": false, "never-bless,quick-proof": false} {
		if got := o.Has(name); got != want {
			t.Errorf("Has(%q) = %v, want %v", name, got, want)
		}
	}
}
