// Package metrics counts what the file server does and writes it in Prometheus'
// text format.
//
// Requests and bytes are counted by project, release, status and address family,
// latency by project in a histogram. Labels come from the tree's own names, yet
// the number of series is bounded: what exceeds it is counted under "other".
// Counters begin anew at a restart, as Prometheus expects. The format is written
// here: its encoder in the client library drags in modules that cannot be had
// everywhere.
package metrics

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Key is what requests are counted by.
type Key struct {
	Project, Release string
	Status           int
	Family           byte // '4' or '6'
}

// maxSeries bounds the keys.
const maxSeries = 2000

// buckets are the histogram's upper bounds in seconds: from answers out of
// memory to images over slow lines.
var buckets = [...]float64{0.001, 0.01, 0.1, 1, 10, 60, 600, 3600}

type traffic struct{ requests, bytes int64 }

type histogram struct {
	counts [len(buckets) + 1]int64
	sum    float64
}

// Counters count. The methods may be called from any goroutine.
type Counters struct {
	mu      sync.Mutex
	traffic map[Key]*traffic
	latency map[string]*histogram
	refused map[int]int64
}

// New returns counters at zero.
func New() *Counters {
	return &Counters{traffic: map[Key]*traffic{}, latency: map[string]*histogram{}, refused: map[int]int64{}}
}

// Add counts a request.
func (c *Counters) Add(key Key, bytes int64, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.traffic[key]
	if t == nil {
		if len(c.traffic) >= maxSeries {
			key.Project, key.Release = "other", ""
		}
		if t = c.traffic[key]; t == nil {
			t = &traffic{}
			c.traffic[key] = t
		}
	}
	t.requests++
	t.bytes += bytes
	h := c.latency[key.Project]
	if h == nil {
		h = &histogram{}
		c.latency[key.Project] = h
	}
	seconds := took.Seconds()
	h.sum += seconds
	i := 0
	for i < len(buckets) && seconds > buckets[i] {
		i++
	}
	h.counts[i]++
}

// Refuse counts a connection that was answered with a status before it asked.
func (c *Counters) Refuse(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused[status]++
}

// Gauge is a figure that is read when metrics are. One that only grows, until the
// node starts again, is a Counter.
type Gauge struct {
	Name, Help string
	Labels     []string // name, value, name, value …
	Value      float64
	Counter    bool
}

// Append writes everything. Gauges of one name have to stand together.
func (c *Counters) Append(b []byte, gauges []Gauge) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := slices.SortedFunc(maps.Keys(c.traffic), func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Project, b.Project), cmp.Compare(a.Release, b.Release),
			cmp.Compare(a.Status, b.Status), cmp.Compare(a.Family, b.Family))
	})
	b = head(b, "micromirror_http_requests_total", "counter", "Requests answered.")
	for _, k := range keys {
		b = sample(b, "micromirror_http_requests_total", k.labels(), float64(c.traffic[k].requests))
	}
	b = head(b, "micromirror_http_sent_bytes_total", "counter", "Bytes of bodies sent.")
	for _, k := range keys {
		b = sample(b, "micromirror_http_sent_bytes_total", k.labels(), float64(c.traffic[k].bytes))
	}
	b = head(b, "micromirror_http_duration_seconds", "histogram", "Time from request to the last byte taken by the kernel.")
	for _, project := range slices.Sorted(maps.Keys(c.latency)) {
		b = c.latency[project].append(b, project)
	}
	b = head(b, "micromirror_http_refused_connections_total", "counter", "Connections refused before they asked.")
	for _, status := range slices.Sorted(maps.Keys(c.refused)) {
		b = sample(b, "micromirror_http_refused_connections_total", []string{"status", strconv.Itoa(status)}, float64(c.refused[status]))
	}
	name := ""
	for _, g := range gauges {
		if g.Name != name {
			name = g.Name
			kind := "gauge"
			if g.Counter {
				kind = "counter"
			}
			b = head(b, name, kind, g.Help)
		}
		b = sample(b, g.Name, g.Labels, g.Value)
	}
	return b
}

func (k Key) labels() []string {
	return []string{"project", k.Project, "release", k.Release, "status", strconv.Itoa(k.Status), "family", string(k.Family)}
}

func (h *histogram) append(b []byte, project string) []byte {
	const name = "micromirror_http_duration_seconds"
	var total int64
	for i, n := range h.counts {
		total += n
		bound := "+Inf"
		if i < len(buckets) {
			bound = strconv.FormatFloat(buckets[i], 'g', -1, 64)
		}
		b = sample(b, name+"_bucket", []string{"project", project, "le", bound}, float64(total))
	}
	b = sample(b, name+"_sum", []string{"project", project}, h.sum)
	return sample(b, name+"_count", []string{"project", project}, float64(total))
}

func head(b []byte, name, kind, help string) []byte {
	return fmt.Appendf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func sample(b []byte, name string, labels []string, v float64) []byte {
	b = append(b, name...)
	for i := 0; i+1 < len(labels); i += 2 {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		b = append(b, sep)
		b = append(b, labels[i]...)
		b = append(b, `="`...)
		b = append(b, escape(labels[i+1])...)
		b = append(b, '"')
	}
	if len(labels) > 1 {
		b = append(b, '}')
	}
	b = append(b, ' ')
	b = strconv.AppendFloat(b, v, 'g', -1, 64)
	return append(b, '\n')
}

func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(s, "\uFFFD"))
}
