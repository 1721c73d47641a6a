package page

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"micromirror/packages/certificate"
	"micromirror/packages/httpd/status"
)

func TestSizes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1<<20 - 1: "1.0 MiB", 5 << 30: "5.0 GiB",
		123456789012: "115.0 GiB", 1 << 62: "4.0 EiB",
	} {
		if got := string(AppendSize(nil, n)); got != want {
			t.Errorf("AppendSize(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -100: "-100", -1000: "-1,000"} {
		if got := string(AppendGrouped(nil, n)); got != want {
			t.Errorf("AppendGrouped(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestErrorPageEscapes(t *testing.T) {
	site := Site{Name: "<i>", Sponsor: "<q>", SponsorURL: `"><u>`, Contact: "<s>@x", Location: "<em>"}
	got := string(Error(site, http.StatusNotFound))
	for _, bad := range []string{"<i>", "<q>", "<u>", "<s>", "<em>"} {
		if strings.Contains(got, bad) {
			t.Errorf("page contains %s", bad)
		}
	}
	if !strings.Contains(got, "404 Not Found") {
		t.Error("page does not say what is wrong")
	}
}

func TestFrontSaysHowProjectsAre(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for want, p := range map[string]status.Project{
		"being repaired":                  {Serving: false},
		"Out of service: no whole run":    {Serving: false, OutOfService: "no whole run"},
		">out of service<":                {Serving: false, OutOfService: "no whole run"},
		"2 of 9 files compared differ":    {Serving: true, Freshness: "fresh", LastUpdate: now, WrongFiles: 2, CheckedFiles: 9},
		"has no module &#34;&lt;m&gt;":    {Serving: true, Freshness: "fresh", Status: "failed", LastUpdate: now, Error: `has no module "<m>"`},
		"not synchronised yet":            {Serving: true, Freshness: "unknown", Status: "never"},
		"fetching: 0 B of 10 B":           {Serving: true, Freshness: "unknown", Status: "syncing", Progress: &status.Progress{Phase: "fetch", BytesTotal: 10}},
		"first synchronisation under way": {Serving: true, Freshness: "unknown", Status: "syncing", Progress: &status.Progress{Phase: "fetch", BytesTotal: 10}},
		"out of date":                     {Serving: true, Freshness: "stale", LastUpdate: now.Add(-72 * time.Hour)},
		"up to date":                      {Serving: true, Freshness: "fresh", LastUpdate: now.Add(-90 * time.Minute), Files: 1, Size: 2048, ServedDay: 4096, Efficiency: 2},
		"in step with an upstream that":   {Serving: true, Freshness: "fresh", Stale: true, LastUpdate: now},
		"Out of service: 80 hours &lt;":   {Serving: false, Freshness: "fresh", OutOfService: "80 hours <", LastUpdate: now},
		"1 of 16 files compared differ":   {Serving: true, Freshness: "fresh", LastUpdate: now, WrongFiles: 1, CheckedFiles: 16},
		"newer, first seen 2 h ago":       {Serving: true, Freshness: "fresh", LastUpdate: now, BehindSince: now.Add(-150 * time.Minute)},
		"last synchronisation failed":     {Serving: true, Freshness: "fresh", Status: "failed", LastUpdate: now},
	} {
		p.Name, p.Title, p.URL = "debian", "Debian", "/debian/"
		report := &status.Report{Time: now, Projects: []status.Project{p}}
		texts := map[string]Text{"debian": {Description: "The archive.", Clients: []Client{{Name: "apt", Lines: []string{"deb {url} stable main"}}}}}
		got := string(Front(Site{Name: "n"}, report, texts, "host.example"))
		for _, s := range []string{want, "The archive.", "deb http://host.example/debian stable main"} {
			if !strings.Contains(got, s) {
				t.Errorf("%+v: page lacks %q", p, s)
			}
		}
	}
}

func TestAddresses(t *testing.T) {
	for host, want := range map[string]string{
		"a.example": "rsync://a.example/rpmfusion/nonfree/<", "a.example:8080": "rsync://a.example/rpmfusion/nonfree/<",
		"[::1]:80": "rsync://[::1]/rpmfusion/nonfree/<", "[::1]": "rsync://[::1]/rpmfusion/nonfree/<",
	} {
		p := status.Project{Name: "rpmfusion", Title: "RPM Fusion", URL: "/rpmfusion/nonfree/", Size: 100, ServedDay: 150, Efficiency: 1.5}
		texts := map[string]Text{"rpmfusion": {Module: "rpmfusion", ModulePath: "nonfree"}}
		got := string(Front(Site{Name: "n", Sponsor: "S", Location: "L"}, &status.Report{Projects: []status.Project{p}}, texts, host))
		for _, s := range []string{want, `<a href="http://` + host + `/rpmfusion/nonfree/">`, "This is n, hosted by S in L.", "150 B served in 24 h, 1.50× its size"} {
			if !strings.Contains(got, s) {
				t.Errorf("%s: page lacks %q", host, s)
			}
		}
	}
}

func TestPhaseWithoutBytesShowsNone(t *testing.T) {
	got := string(appendProgress(nil, &status.Progress{Phase: "publish"}))
	if want := "<p class=dim>publishing</p>\n"; got != want {
		t.Errorf("progress = %q, want %q", got, want)
	}
}

// HTTPS is offered under names that the certificate has, as long as it is valid.
func TestSchemes(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	good := certificate.Status{State: certificate.Valid, Names: []string{"a.example"}, NotAfter: now.Add(time.Hour)}
	expired := good
	expired.NotAfter = now
	for _, test := range []struct {
		status certificate.Status
		host   string
		want   int
	}{{good, "a.example", 1}, {good, "b.example", 0}, {good, "a.example:8080", 0}, {expired, "a.example", 0}, {certificate.Status{}, "a.example", 0}} {
		report := &status.Report{Time: now, Certificate: test.status, Projects: []status.Project{{URL: "/debian/"}}}
		got := string(Front(Site{}, report, nil, test.host))
		if n := strings.Count(got, `<a href="https://`+test.host+`/debian/">`); n != test.want {
			t.Errorf("%+v: %d links to HTTPS at %s, want %d", test.status, n, test.host, test.want)
		}
	}
}

func TestTotal(t *testing.T) {
	report := &status.Report{Projects: []status.Project{{Size: 1 << 30, Files: 1000}, {Size: 1 << 30, Files: 234}}}
	if got := string(Front(Site{}, report, nil, "a")); !strings.Contains(got, "2 projects, 1,234 files, 2.0 GiB<") {
		t.Errorf("the page lacks the total:\n%s", got)
	}
}
