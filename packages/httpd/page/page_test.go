package page

import (
	"net/http"
	"strings"
	"testing"
	"time"

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
		"not synchronised yet":            {Serving: true, Freshness: "unknown", Status: "never"},
		"first synchronisation under way": {Serving: true, Freshness: "unknown", Status: "syncing", Progress: &status.Progress{Phase: "fetch", BytesTotal: 10}},
		"out of date":                     {Serving: true, Freshness: "stale", LastUpdate: now.Add(-72 * time.Hour)},
		"up to date":                      {Serving: true, Freshness: "fresh", LastUpdate: now.Add(-90 * time.Minute), Files: 1, Size: 2048, ServedDay: 4096, Efficiency: 2},
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
		for _, s := range []string{want, "http://" + host + "/rpmfusion/nonfree/<", "This is n, hosted by S in L.", "150 B served in 24 h, 1.50× its size"} {
			if !strings.Contains(got, s) {
				t.Errorf("%s: page lacks %q", host, s)
			}
		}
	}
}

func TestPhaseWithoutBytesShowsNone(t *testing.T) {
	got := string(appendProgress(nil, &status.Progress{Phase: "publish"}))
	if want := "<p class=dim>publish</p>\n"; got != want {
		t.Errorf("progress = %q, want %q", got, want)
	}
}
