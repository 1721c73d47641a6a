package httpd

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"time"

	"micromirror/packages/httpd/answer"
	"micromirror/packages/httpd/limit"
	"micromirror/packages/httpd/metrics"
)

// Limits puts the rules of <dir>/limits.json in force and follows the file until
// ctx ends.
func Limits(ctx context.Context, dir string, log *slog.Logger) *limit.Table {
	file := filepath.Join(dir, "limits.json")
	rules, err := limit.Read(file)
	if err != nil {
		log.Error("limits not read, using the defaults", "err", err)
		rules = limit.Default()
	}
	table := limit.NewTable(rules)
	go table.Follow(ctx, file, time.Second, log)
	return table
}

// metrics returns the source of /metrics.
func (j *Journal) metrics(limits *limit.Table, site *answer.Site) func(netip.Addr) []byte {
	return func(peer netip.Addr) []byte {
		if !limits.MayReadMetrics(peer) {
			return nil
		}
		gauges := []metrics.Gauge{
			{Name: "micromirror_http_connections", Help: "Open connections.", Value: float64(limits.Open())},
			{Name: "micromirror_http_cache_items", Help: "Files and listings in the cache.", Value: float64(site.Cache.Len())},
		}
		report := j.status.Report()
		for _, p := range report.Projects {
			gauges = append(gauges, metrics.Gauge{
				Name: "micromirror_project_bytes", Help: "Size of a project on disk.",
				Labels: []string{"project", p.Name}, Value: float64(p.Size),
			})
		}
		for _, p := range report.Projects {
			if !p.LastUpdate.IsZero() {
				gauges = append(gauges, metrics.Gauge{
					Name: "micromirror_project_age_seconds", Help: "Time since a project was last in step with upstream.",
					Labels: []string{"project", p.Name}, Value: report.Time.Sub(p.LastUpdate).Seconds(),
				})
			}
		}
		return j.counters.Append(make([]byte, 0, 16<<10), gauges)
	}
}
