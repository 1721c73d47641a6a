package show

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	type step struct {
		at          int // seconds
		phase       string
		done, total int64
		rate        float64
		left        time.Duration
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"steady", []step{{0, "fetch", 0, 100, 0, 0}, {2, "fetch", 20, 100, 0, 0}, {4, "fetch", 40, 100, 10, 6 * time.Second}}},
		{"slow start is forgotten", []step{{0, "fetch", 0, 10000, 0, 0}, {10, "fetch", 10, 10000, 1, 9990 * time.Second},
			{20, "fetch", 1010, 10000, 50.5, 178 * time.Second}, {30, "fetch", 2010, 10000, 100, 80 * time.Second}}},
		{"stalled", []step{{0, "fetch", 5, 100, 0, 0}, {20, "fetch", 5, 100, 0, 0}}},
		{"hardly moving", []step{{0, "fetch", 0, 1 << 40, 0, 0}, {10, "fetch", 10, 1 << 40, 1, 0}}},
		{"new phase", []step{{0, "fetch", 0, 100, 0, 0}, {5, "fetch", 50, 100, 10, 5 * time.Second}, {6, "verify", 50, 100, 0, 0}}},
		{"begun anew", []step{{0, "fetch", 50, 100, 0, 0}, {5, "fetch", 10, 100, 0, 0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p pace
			start := time.Unix(0, 0)
			for i, s := range c.steps {
				p.add(start.Add(time.Duration(s.at)*time.Second), s.phase, s.done, s.total)
				if rate, left := p.rate(), p.left(); rate != s.rate || left != s.left {
					t.Errorf("step %d: rate %v, left %v; want %v, %v", i, rate, left, s.rate, s.left)
				}
			}
		})
	}
}
