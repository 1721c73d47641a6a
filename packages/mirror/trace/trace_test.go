package trace

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/mirror/mirrortest"
	"micromirror/packages/project"
)

var run = Run{
	Host: "node.example.net", Upstream: "rsync.example.net", Creator: "micromirror",
	Started: time.Date(2026, 3, 4, 5, 6, 0, 0, time.UTC), Ended: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Received: 99,
}

func TestWrite(t *testing.T) {
	tests := []struct {
		trace project.Trace
		want  string
	}{
		{project.Trace{File: ".trace/{host}", Format: "date"}, "Wed Mar  4 05:06:07 UTC 2026\n"},
		{project.Trace{File: "lastsync-{host}", Format: "epoch"}, "1772600767\n"},
		{project.Trace{File: "project/trace/{host}", Format: "debian"}, `Wed Mar  4 05:06:07 UTC 2026
Date: Wed, 04 Mar 2026 05:06:07 +0000
Date-Started: Wed, 04 Mar 2026 05:06:00 +0000
Archive serial: 2026030401
Creator: micromirror
Running on host: node.example.net
Upstream-mirror: rsync.example.net
Total bytes received in rsync: 99
Total time spent in rsync: 7
`},
	}
	for _, tt := range tests {
		dir := mirrortest.TempDir(t)
		mirrortest.Make(t, dir, "tree/project/trace/master: Wed Mar  4\nArchive serial: 2026030401\n", "tree/project/trace/other: x", "stage/")
		before := mirrortest.Describe(t, filepath.Join(dir, "tree"), true)
		p := project.Project{Trace: tt.trace}
		name := Name(&p, run.Host)
		for range 2 { // the second replaces the first
			if err := Write(&p, filepath.Join(dir, "tree"), filepath.Join(dir, "stage"), run); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(filepath.Join(dir, "tree", name))
		if diff := cmp.Diff(tt.want, string(got)); diff != "" || err != nil {
			t.Errorf("%s: %v, -want +got\n%s", name, err, diff)
		}
		after := mirrortest.Describe(t, filepath.Join(dir, "tree"), true)
		for n, d := range before {
			if after[n] != d {
				t.Errorf("%s: %s changed from %q to %q", name, n, d, after[n])
			}
		}
	}
}

func TestNoTrace(t *testing.T) {
	if err := Write(&project.Project{}, "/nonexistent", "/nonexistent", run); err != nil {
		t.Error(err)
	}
}

func TestAge(t *testing.T) {
	dir := mirrortest.TempDir(t)
	mirrortest.Make(t, dir, "epoch: 1772600767\n", "float: 1772600767.25", "date: Wed Mar  4 05:06:07 UTC 2026\nmore",
		"md: <repomd><data><timestamp>5</timestamp></data><data><timestamp>1772600767</timestamp></data></repomd>",
		"bad: x", "huge: 1e300", "empty/", "dists/one/epoch: 1772600767\n", "dists/stable -> one", "out -> ../../etc")
	want := run.Ended
	tests := []struct {
		file, kind string
		want       time.Time
		err        string
	}{
		{"epoch", "epoch", want, ""},
		{"float", "epoch", want.Add(250 * time.Millisecond), ""},
		{"date", "date", want, ""},
		{"md", "repomd", want, ""},
		{"", "", time.Time{}, ""},
		{"dists/stable/epoch", "epoch", want, ""},
		{"out/passwd", "epoch", time.Time{}, "leads out"},
		{"bad", "epoch", time.Time{}, "invalid syntax"},
		{"bad", "date", time.Time{}, "cannot parse"},
		{"bad", "repomd", time.Time{}, "EOF"},
		{"huge", "epoch", time.Time{}, "not a time"},
		{"none", "equal", time.Time{}, "no such file"},
		{"empty", "equal", time.Time{}, "not a regular file"},
	}
	for _, tt := range tests {
		got, err := Age(project.Freshness{File: tt.file, Kind: tt.kind}, dir)
		if !got.Equal(tt.want) || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s as %s: %v, %v; want %v, %q", tt.file, tt.kind, got, err, tt.want, tt.err)
		}
	}
	st, err := os.Stat(filepath.Join(dir, "bad"))
	if got, _ := Age(project.Freshness{File: "bad", Kind: "mtime"}, dir); err != nil || !got.Equal(st.ModTime()) {
		t.Errorf("by mtime: %v", got)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("1772600767.5")
	f.Add("Wed Mar  4 05:06:07 UTC 2026")
	f.Add("<r><data><timestamp>7</timestamp></data></r>")
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []string{"epoch", "date", "repomd"} {
			if when, err := read(kind, strings.NewReader(text)); err == nil && when.IsZero() {
				t.Errorf("%s: no time and no error", kind)
			}
		}
	})
}
