//go:build faults

package fault

import (
	"slices"
	"strings"
)

// Orders are the names of what is ordered, in the order of the command line.
type Orders []string

// Ordered reads a kernel command line.
func Ordered(cmdline string) Orders {
	var o Orders
	for word := range strings.FieldsSeq(cmdline) {
		if names, ok := strings.CutPrefix(word, "mm.fault="); ok {
			o = append(o, strings.Split(names, ",")...)
		}
	}
	return o
}

// Has says whether a fault is ordered.
func (o Orders) Has(name string) bool { return slices.Contains(o, name) }
