package metrics

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestText(t *testing.T) {
	c := New()
	c.Add(Key{"debian", "trixie", 200, '4'}, 1000, 5*time.Millisecond)
	c.Add(Key{"debian", "trixie", 200, '4'}, 24, 2*time.Hour)
	c.Add(Key{"", "", 404, '6'}, 0, 0)
	c.Refuse(429)
	c.Refuse(429)
	got := string(c.Append(nil, []Gauge{{"micromirror_http_connections", "Open.", nil, 3, false}, {"size", "S.", []string{"project", "a\"\\\n\xff"}, 1e12, true}}))
	want := `# HELP micromirror_http_requests_total Requests answered.
# TYPE micromirror_http_requests_total counter
micromirror_http_requests_total{project="",release="",status="404",family="6"} 1
micromirror_http_requests_total{project="debian",release="trixie",status="200",family="4"} 2
# HELP micromirror_http_sent_bytes_total Bytes of bodies sent.
# TYPE micromirror_http_sent_bytes_total counter
micromirror_http_sent_bytes_total{project="",release="",status="404",family="6"} 0
micromirror_http_sent_bytes_total{project="debian",release="trixie",status="200",family="4"} 1024
# HELP micromirror_http_duration_seconds Time from request to the last byte taken by the kernel.
# TYPE micromirror_http_duration_seconds histogram
micromirror_http_duration_seconds_bucket{project="",le="0.001"} 1
micromirror_http_duration_seconds_bucket{project="",le="0.01"} 1
micromirror_http_duration_seconds_bucket{project="",le="0.1"} 1
micromirror_http_duration_seconds_bucket{project="",le="1"} 1
micromirror_http_duration_seconds_bucket{project="",le="10"} 1
micromirror_http_duration_seconds_bucket{project="",le="60"} 1
micromirror_http_duration_seconds_bucket{project="",le="600"} 1
micromirror_http_duration_seconds_bucket{project="",le="3600"} 1
micromirror_http_duration_seconds_bucket{project="",le="+Inf"} 1
micromirror_http_duration_seconds_sum{project=""} 0
micromirror_http_duration_seconds_count{project=""} 1
micromirror_http_duration_seconds_bucket{project="debian",le="0.001"} 0
micromirror_http_duration_seconds_bucket{project="debian",le="0.01"} 1
micromirror_http_duration_seconds_bucket{project="debian",le="0.1"} 1
micromirror_http_duration_seconds_bucket{project="debian",le="1"} 1
micromirror_http_duration_seconds_bucket{project="debian",le="10"} 1
micromirror_http_duration_seconds_bucket{project="debian",le="60"} 1
micromirror_http_duration_seconds_bucket{project="debian",le="600"} 1
micromirror_http_duration_seconds_bucket{project="debian",le="3600"} 1
micromirror_http_duration_seconds_bucket{project="debian",le="+Inf"} 2
micromirror_http_duration_seconds_sum{project="debian"} 7200.005
micromirror_http_duration_seconds_count{project="debian"} 2
# HELP micromirror_http_refused_connections_total Connections refused before they asked.
# TYPE micromirror_http_refused_connections_total counter
micromirror_http_refused_connections_total{status="429"} 2
# HELP micromirror_http_connections Open.
# TYPE micromirror_http_connections gauge
micromirror_http_connections 3
# HELP size S.
# TYPE size counter
size{project="a\"\\\n` + "\uFFFD" + `"} 1e+12
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSeriesAreBounded(t *testing.T) {
	c := New()
	for i := range 3 * maxSeries {
		c.Add(Key{"p", fmt.Sprint(i), 200, '4'}, 1, 0)
	}
	if n := len(c.traffic); n > maxSeries+1 {
		t.Errorf("%d series", n)
	}
	if !strings.Contains(string(c.Append(nil, nil)), fmt.Sprintf(`{project="other",release="",status="200",family="4"} %d`, 2*maxSeries)) {
		t.Error("what is over the bound is not counted together")
	}
}
