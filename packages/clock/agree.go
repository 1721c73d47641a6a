package clock

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Sample is what one server says: the true time is the local time plus Offset,
// give or take Error.
type Sample struct {
	Server   string
	Offset   time.Duration
	Error    time.Duration
	Agreeing int // set by Agree: servers behind it
}

// ErrDisagree means that no majority of the servers that answered agrees.
var ErrDisagree = errors.New("time servers disagree")

// Agree returns the best sample of the largest group whose intervals have a
// point in common (Marzullo's algorithm), if that is more than half.
func Agree(samples []Sample) (Sample, error) {
	type edge struct {
		at    time.Duration
		start bool
	}
	var edges []edge
	for _, s := range samples {
		edges = append(edges, edge{s.Offset - s.Error, true}, edge{s.Offset + s.Error, false})
	}
	slices.SortFunc(edges, func(a, b edge) int {
		starts := 0
		if a.start != b.start {
			starts = 1
			if a.start {
				starts = -1
			}
		}
		return cmp.Or(cmp.Compare(a.at, b.at), starts)
	})
	depth, best := 0, 0
	var low, high time.Duration
	for i, e := range edges {
		if !e.start {
			depth--
			continue
		}
		if depth++; depth > best {
			best, low, high = depth, e.at, edges[i+1].at
		}
	}
	if best*2 <= len(samples) {
		return Sample{}, fmt.Errorf("%w: %s", ErrDisagree, describe(samples))
	}
	group := slices.DeleteFunc(slices.Clone(samples), func(s Sample) bool {
		return s.Offset-s.Error > low || s.Offset+s.Error < high
	})
	pick := slices.MinFunc(group, func(a, b Sample) int { return cmp.Compare(a.Error, b.Error) })
	pick.Agreeing = best
	return pick, nil
}

func describe(samples []Sample) string {
	var out []string
	for _, s := range samples {
		out = append(out, fmt.Sprintf("%s %v", s.Server, s.Offset))
	}
	return strings.Join(out, ", ")
}
