package health

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/node"
	"micromirror/packages/project"
)

// A node whose cable is pulled stays healthy, says so once, and goes on looking
// at what does not need the network.
func TestChecksOfANode(t *testing.T) {
	root := tree(t, map[string]string{
		"run/netd/state.json":     `{"mac":"02:00:00:00:00:01"}`,
		"run/updated/update.json": `{}`, "run/ntpd/clock.json": `{}`,
		"state/demo.json": `{"last_update":"2026-11-21T00:00:00Z","serving":true}`,
	})
	mirror := t.TempDir()
	s := httptest.NewServer(http.FileServer(http.Dir(mirror)))
	defer s.Close()
	config := &node.Config{
		Fleet: node.Fleet{NTP: []string{"ntp"}, Update: node.Update{URLs: []string{"http://a/"}},
			Projects: map[string]project.Project{"demo": {Name: "demo"}}},
		Node: node.Node{Projects: []string{"demo"}},
	}
	now := func() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }
	c := Node(t.TempDir(), config)
	c.Perm, c.Mirror, c.SyncD, c.Run, c.Sys, c.Dev = mirror, mirror, filepath.Join(root, "state"), filepath.Join(root, "run"), root, root
	c.HTTP, c.Rsync, c.Now = map[string]string{"http": s.URL}, nil, now
	set, err := New(Checks(c), "1", "a", now, func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	r := set.Run(t.Context())
	got := map[string]string{}
	for _, o := range r.Checks {
		got[o.Name] = string(o.Status)
	}
	want := map[string]string{
		"disk": "ok", "room": "ok", "space": "ok", "ext4": "ok", "wear": "warn", "http": "ok", "port": "ok", "link": "warn",
		"address": "skip", "gateway": "skip", "clock": "skip", "update": "skip",
		"watchdog": "fail", "temperature": "ok", "project demo": "ok",
	}
	if d := cmp.Diff(want, got); d != "" || !r.Healthy || r.Why() != "" {
		t.Errorf("healthy %v, why %q, outcomes (-want +got):\n%s", r.Healthy, r.Why(), d)
	}
	if _, err := os.Stat(filepath.Join(mirror, KnownDir)); err != nil {
		t.Error(err)
	}
	c.Node = nil
	if _, err := New(Checks(c), "1", "a", now, nil); err != nil {
		t.Errorf("without configuration: %v", err)
	}
}

func TestBound(t *testing.T) {
	for hours, want := range map[int]time.Duration{0: 48 * time.Hour, 12: 26 * time.Hour, 24: 26 * time.Hour, 36: 36 * time.Hour, 96: 48 * time.Hour} {
		if got := Bound(project.Project{Freshness: project.Freshness{MaxAge: hours}}); got != want {
			t.Errorf("%d hours: %v, want %v", hours, got, want)
		}
	}
}

// HTTPS is looked at where there can be a certificate. It must not be lost by an
// update; before the first certificate, and when the authority fails, it does not
// count.
func TestChecksOfHTTPS(t *testing.T) {
	s := httptest.NewUnstartedServer(nil)
	root := t.TempDir()
	s.Config.Handler = http.FileServer(http.Dir(root))
	s.StartTLS()
	defer s.Close()
	gone := httptest.NewTLSServer(nil)
	gone.Close()
	const valid, none = `{"state":"valid","not_after":"2027-01-01T00:00:00Z"}`, `{"state":"none","reason":"no answer"}`
	for _, tc := range []struct {
		name, authority, status, base string
		held                          bool
		want                          map[string]string
		healthy                       bool
	}{
		{"no authority", "", none, gone.URL, true, map[string]string{}, true},
		{"served", "https://ca/", valid, s.URL, true, map[string]string{"certificate": "ok", "https": "ok"}, true},
		{"not yet", "https://ca/", none, gone.URL, false, map[string]string{"certificate": "warn", "https": "skip"}, true},
		{"certificate lost", "https://ca/", none, gone.URL, true, map[string]string{"certificate": "fail", "https": "skip"}, false},
		{"listener lost", "https://ca/", valid, gone.URL, true, map[string]string{"certificate": "ok", "https": "fail"}, false},
	} {
		run := tree(t, map[string]string{"acmed/status.json": tc.status})
		c := Config{Mirror: root, Run: run, HTTPS: map[string]string{"https": tc.base},
			Node: &node.Config{Fleet: node.Fleet{Domain: "example.net", ACME: node.ACME{Directory: tc.authority}}, Node: node.Node{Name: "demo"}},
			Now:  func() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) },
		}
		set, err := New(c.services(), "1", "a", c.Now, func(string) bool { return tc.held })
		if err != nil {
			t.Fatal(err)
		}
		r := set.Run(t.Context())
		got := map[string]string{}
		for _, o := range r.Checks {
			got[o.Name] = string(o.Status)
		}
		if d := cmp.Diff(tc.want, got); d != "" || r.Healthy != tc.healthy {
			t.Errorf("%s: healthy %v, outcomes (-want +got):\n%s", tc.name, r.Healthy, d)
		}
	}
}
