package show

import (
	"bytes"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/demo"
	"micromirror/packages/httpd/status"
	"micromirror/packages/vm"
)

func TestScreen(t *testing.T) {
	scene := func(columns int) string {
		var out bytes.Buffer
		s := newScreen(&out, columns)
		s.line("one")
		s.status("10 %% ...")
		s.status("11 %%") // too soon
		time.Sleep(statusEveryPlain)
		s.status("50 %%")
		fmt.Fprint(s, "from else")
		fmt.Fprint(s, "where\nand")
		time.Sleep(statusEveryPlain)
		s.status("50 %%")
		for range 2 {
			s.console(vm.Line{At: 1500 * time.Millisecond, Text: "[  1.0] mm httpd: serving on :80"})
		}
		s.console(vm.Line{Text: "[  1.0] noise"})
		for range 2 { // a second boot tells all again
			s.console(vm.Line{Text: "BdsDxe: starting x"})
			s.console(vm.Line{Text: "Linux version 6"})
		}
		return out.String()
	}
	synctest.Test(t, func(t *testing.T) {
		const again = "node:    0.0 s  BdsDxe: starting x\nnode:    0.0 s  Linux version 6\nnode:    0.0 s  BdsDxe: starting x\nnode:    0.0 s  Linux version 6\n"
		want := "one\n10 % ...\n50 %\nfrom elsewhere\nnode:    1.5 s  mm httpd: serving on :80\n" + again
		if diff := cmp.Diff(want, scene(0)); diff != "" {
			t.Errorf("plain (-want +got):\n%s", diff)
		}
		const clear = "\r\x1b[K"
		want = "one\n" + clear + "10 %" + clear + "50 %" + clear + "from elsewhere\n" + clear + "50 %" + clear + "node:    1.5 s  mm httpd: serving on :80\n" + again
		if diff := cmp.Diff(want, scene(5)); diff != "" {
			t.Errorf("terminal (-want +got):\n%s", diff)
		}
	})
}

func TestSyncReport(t *testing.T) {
	w := newWatch("http://node", "rsync://node")
	busy := func(done int64) status.Report {
		return status.Report{Projects: []status.Project{
			{Name: "a", Status: "never"},
			{Name: "b", Status: "syncing", Progress: &status.Progress{Phase: "fetch", FilesDone: 3, FilesTotal: 9,
				BytesDone: done, BytesTotal: 3 << 30, BytesPerSecond: 1, ETASeconds: 1e9}},
			{Name: "c", Status: "syncing", Progress: &status.Progress{Phase: "list"}},
		}}
	}
	done := status.Report{Projects: []status.Project{
		{Name: "a", Status: "failed", Error: "no route"},
		{Name: "b", Status: "idle", LastUpdate: time.Now(), Files: 9, Size: 3 << 29},
		{Name: demo.Files, Status: "idle", LastUpdate: time.Now(), Files: 1, Size: 1},
	}}
	for i, step := range []struct {
		report   status.Report
		changes  []string
		progress string
	}{
		{busy(512), []string{"sync: b: syncing", "sync: c: syncing"}, "sync: b: fetch 3 of 9 files, 512 B of 3.0 GiB; c: list"},
		{busy(512 + 10<<20), nil, "sync: b: fetch 3 of 9 files, 10.0 MiB of 3.0 GiB, 1.0 MiB/s, 51m2s left; c: list"},
		{done, []string{
			"sync: a: failed: no route", "sync: b: in step with upstream, 9 files, 1.5 GiB", "sync: demo-files: in step with upstream, 1 files, 1 B",
			"    rsync -rltHv --exclude=large.iso rsync://node/demo-files/ /tmp/demo-files/",
			"    curl -r 0-1023 -so /tmp/first-KiB http://node/demo-files/large.iso",
		}, ""},
		{done, nil, ""},
	} {
		if diff := cmp.Diff(step.changes, w.changes(step.report)); diff != "" {
			t.Errorf("step %d: changes (-want +got):\n%s", i, diff)
		}
		if diff := cmp.Diff(step.progress, w.progress(step.report, time.Unix(int64(10*i), 0))); diff != "" {
			t.Errorf("step %d: progress (-want +got):\n%s", i, diff)
		}
	}
}

func TestPortsInUseAreAvoided(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:8080")
	if err == nil {
		defer l.Close() // otherwise somebody else has it, which does as well
	}
	first, free := claimPorts()
	defer free()
	if first[80] != 0 || len(first) != 2 {
		t.Errorf("ports are %v; want any for 80, and two in all", first)
	}
	second, freeSecond := claimPorts()
	defer freeSecond()
	if second[873] != 0 {
		t.Errorf("ports are %v; 873 is claimed already", second)
	}
}
