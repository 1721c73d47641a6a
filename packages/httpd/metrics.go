package httpd

import (
	"net/netip"

	"micromirror/packages/httpd/answer"
	"micromirror/packages/httpd/limit"
	"micromirror/packages/httpd/metrics"
	"micromirror/packages/httpd/status"
)

// metrics returns the source of /metrics.
func (j *Journal) metrics(limits *limit.Table, site *answer.Site, https *secure) func(netip.Addr) []byte {
	return func(peer netip.Addr) []byte {
		if !limits.MayReadMetrics(peer) {
			return nil
		}
		gauges := []metrics.Gauge{
			{Name: "micromirror_http_connections", Help: "Open connections.", Value: float64(limits.Open())},
			{Name: "micromirror_http_cache_items", Help: "Files and listings in the cache.", Value: float64(site.Cache.Len())},
		}
		report := j.status.Report()
		gauges = append(gauges, https.gauges()...)
		gauges = append(gauges, certificateGauges(report.Certificate, report.Time)...)
		gauges = append(gauges, networkGauges(j.network)...)
		for _, g := range projectGauges {
			for i := range report.Projects {
				if v, ok := g.value(report, &report.Projects[i]); ok {
					labels := []string{"project", report.Projects[i].Name}
					gauges = append(gauges, metrics.Gauge{Name: g.name, Help: g.help, Labels: labels, Value: v})
				}
			}
		}
		return j.counters.Append(make([]byte, 0, 16<<10), gauges)
	}
}

// projectGauges are the figures of each project. The table is never written.
var projectGauges = []struct {
	name, help string
	value      func(*status.Report, *status.Project) (v float64, known bool)
}{
	{"micromirror_project_bytes", "Size of a project on disk.",
		func(_ *status.Report, p *status.Project) (float64, bool) { return float64(p.Size), true }},
	{"micromirror_project_efficiency", "Bytes served in 24 hours, divided by the size on disk.",
		func(_ *status.Report, p *status.Project) (float64, bool) { return p.Efficiency, p.Size > 0 }},
	{"micromirror_project_serving", "1 while a project is served, 0 while it answers 503.",
		func(_ *status.Report, p *status.Project) (float64, bool) { return number(p.Serving), true }},
	{"micromirror_project_stale", "1 while upstream's content is older than the project's checker allows.",
		func(_ *status.Report, p *status.Project) (float64, bool) { return number(p.Stale), true }},
	{"micromirror_project_wrong_files", "Files of the last sample that differed from upstream's.",
		func(_ *status.Report, p *status.Project) (float64, bool) {
			return float64(p.WrongFiles), !p.LastCheck.IsZero()
		}},
	{"micromirror_project_out_of_service", "1 while a project's rule keeps it back.",
		func(_ *status.Report, p *status.Project) (float64, bool) { return number(p.OutOfService != ""), true }},
	{"micromirror_project_behind_seconds", "Time since upstream's freshness file was found to be another, 0 if it is the same.",
		func(r *status.Report, p *status.Project) (float64, bool) {
			if p.BehindSince.IsZero() {
				return 0, !p.LastCheck.IsZero()
			}
			return r.Time.Sub(p.BehindSince).Seconds(), true
		}},
	{"micromirror_project_age_seconds", "Time since a project was last in step with upstream.",
		func(r *status.Report, p *status.Project) (float64, bool) {
			return r.Time.Sub(p.LastUpdate).Seconds(), !p.LastUpdate.IsZero()
		}},
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
