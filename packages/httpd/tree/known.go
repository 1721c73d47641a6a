package tree

import (
	"slices"
	"strings"
)

// Known is what is known of the files in a directory without asking. It is not
// changed any more.
type Known struct {
	entries []Entry // by name
	index   map[string]int32
	changed map[string]struct{}
}

// Learn keeps what a listing has found out about files that nothing outside of
// their directory can change.
func Learn(listed []Entry) *Known {
	k := &Known{index: make(map[string]int32, len(listed)), entries: make([]Entry, 0, len(listed))}
	for i := range listed {
		if listed[i].Sole {
			k.entries = append(k.entries, listed[i])
		}
	}
	if !slices.IsSortedFunc(k.entries, byName) {
		slices.SortFunc(k.entries, byName)
	}
	for i := range k.entries {
		k.index[k.entries[i].Name] = int32(i)
	}
	return k
}

// Except is what is known when the names in changed are not any more.
func (k *Known) Except(changed map[string]struct{}) *Known {
	return &Known{entries: k.entries, index: k.index, changed: changed}
}

// Len is the number of files that are known, at least.
func (k *Known) Len() int { return len(k.entries) - len(k.changed) }

func byName(a, b Entry) int { return strings.Compare(a.Name, b.Name) }

// find returns the place of a name among the entries.
func (k *Known) find(name []byte) (int32, bool) {
	if k == nil {
		return 0, false
	}
	if _, changed := k.changed[string(name)]; changed {
		return 0, false
	}
	i, ok := k.index[string(name)]
	return i, ok
}

// merge returns the known entries that are there still, with others.
func (k *Known) merge(there []bool, others []Entry) []Entry {
	slices.SortFunc(others, byName)
	all := make([]Entry, 0, len(k.entries)+len(others))
	for i := range k.entries {
		if !there[i] {
			continue
		}
		for len(others) > 0 && others[0].Name < k.entries[i].Name {
			all = append(all, others[0])
			others = others[1:]
		}
		all = append(all, k.entries[i])
	}
	return append(all, others...)
}
