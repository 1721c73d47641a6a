package health

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// verdict is the status that a gate check with this error gets, and why.
func verdict(err error) string {
	switch w, f := (warning{}), fact(""); {
	case err == nil:
		return "ok"
	case errors.As(err, &f):
		return "ok: " + err.Error()
	case errors.As(err, &w):
		return "warn: " + err.Error()
	default:
		return "fail: " + err.Error()
	}
}

func TestKnownFile(t *testing.T) {
	root := t.TempDir()
	if _, _, err := NewKnown(root).there(); err != nil {
		t.Fatal(err)
	}
	k := NewKnown(root)
	if _, _, err := k.there(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Join(root, KnownDir)); len(left) != 1 {
		t.Errorf("known files: %v", left)
	}
	good := httptest.NewServer(http.FileServer(http.Dir(root)))
	defer good.Close()
	empty := httptest.NewServer(http.NotFoundHandler())
	defer empty.Close()
	wrong := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) }))
	defer wrong.Close()
	full := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }))
	defer full.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	for base, want := range map[string]string{
		good.URL:  "ok",
		empty.URL: "fail: answer 404 Not Found to a file that is there",
		wrong.URL: "fail: answer is not the file's content",
		full.URL:  "warn: server is full",
		gone.URL:  "fail: dial tcp " + strings.TrimPrefix(gone.URL, "http://") + ": connect: connection refused",
	} {
		if got := verdict(k.Served(base)(t.Context())); got != want {
			t.Errorf("%s: %s; want %s", base, got, want)
		}
	}
}

func TestKnownFileComesBack(t *testing.T) {
	root := t.TempDir()
	s := httptest.NewServer(http.FileServer(http.Dir(root)))
	defer s.Close()
	check := NewKnown(root).Served(s.URL)
	for range 2 {
		if err := check(t.Context()); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(filepath.Join(root, KnownDir)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKnownFileOnAFullDisk(t *testing.T) {
	root := mount(t, "size=64k")
	s := httptest.NewServer(http.FileServer(http.Dir(root)))
	defer s.Close()
	former := NewKnown(root)
	if err := former.Served(s.URL)(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := former.path
	if err := os.WriteFile(root+"/big", make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("disk is not full: %v", err)
	}
	k := NewKnown(root)
	if got := verdict(k.Served(s.URL)(t.Context())); got != "ok" || k.path == old {
		t.Errorf("with a former file: %s, path %q after %q", got, k.path, old)
	}
	if err := os.RemoveAll(filepath.Join(root, KnownDir)); err != nil {
		t.Fatal(err)
	}
	// Take the room that this left.
	f, err := os.OpenFile(root+"/big", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if got := verdict(k.Served(s.URL)(t.Context())); !strings.HasPrefix(got, "warn: ") || !strings.HasSuffix(got, "no space left on device") {
		t.Errorf("without one: %s", got)
	}
	s.Close()
	if got := verdict(k.Served(s.URL)(t.Context())); !strings.HasSuffix(got, "connection refused") || !strings.HasPrefix(got, "fail: ") {
		t.Errorf("and no server: %s", got)
	}
}

// mount makes a small file system in memory for the test.
func mount(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestDisk(t *testing.T) {
	dir := mount(t, "size=1m,nr_inodes=100")
	check := func(name string, f func(context.Context) error, want string) {
		t.Helper()
		if got := verdict(f(t.Context())); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s; want %s…", name, got, want)
		}
	}
	check("empty", Writable(dir), "ok")
	check("empty", Space(dir, 5), "ok: 0.0 of 0.0 GiB free")
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("the check leaves %v", left)
	}
	if err := os.WriteFile(dir+"/big", make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	check("full", Writable(dir), "warn: ")
	check("full", Room(dir), "fail: the disk is full: 0 MiB")
	check("with room", Room(mount(t, "size=32m")), "ok")
	check("without room for files", Room(mount(t, "size=32m,nr_inodes=1")), "fail: the disk is full: 32 MiB and room for 0 files left")
	check("full", Space(dir, 5), "fail: 0 MiB free")
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	check("read-only", Writable(dir), "fail: file system of "+dir+" is read-only")
}

func TestExt4Errors(t *testing.T) {
	sys := t.TempDir()
	for name, count := range map[string]string{"sda4": "0\n", "sdb1": "3\n"} {
		dir := filepath.Join(sys, "fs/ext4", name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/errors_count", []byte(count), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := verdict(Ext4Errors(sys)(t.Context())); got != "fail: 3 file system errors on sdb1; the next boot repairs them" {
		t.Error(got)
	}
	if got := verdict(Ext4Errors(t.TempDir())(t.Context())); got != "ok" {
		t.Error(got)
	}
}

func TestReports(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	project := func(file string) func(context.Context) error { return Project(file, 48*time.Hour, clock) }
	update := func(file string) func(context.Context) error { return Update(file, clock) }
	cert := func(file string) func(context.Context) error { return Certificate(file, clock) }
	for _, tc := range []struct {
		check      func(string) func(context.Context) error
		file, want string
	}{
		{Link, `{"mac":"02:00:00:00:00:01","carrier":true}`, "ok"},
		{Link, `{"mac":"02:00:00:00:00:01"}`, "fail: no carrier: check the cable in the port with MAC 02:00:00:00:00:01"},
		{Port, `{"mac":"02:00:00:00:00:01"}`, "ok"},
		{Port, `{}`, "fail: no network port found"},
		{Port, `{`, "fail: report: unexpected end of JSON input"},
		{Link, `{`, "fail: report: unexpected end of JSON input"},
		{Address, `{"addresses":[{"address":"192.0.2.1/24","state":"ok"},{"address":"2001:db8::1/64","state":"conflict"}]}`, "warn: address 2001:db8::1/64: conflict"},
		{Address, `{"addresses":[{"address":"192.0.2.1/24","state":"conflict"}]}`, "fail: address 192.0.2.1/24: conflict"},
		{Address, `{"mode":"previous","addresses":[{"address":"192.0.2.1/24","state":"ok"}]}`, "warn: the new node file's gateway does not answer, the former one is in force"},
		{Address, `{"mode":"rescue","addresses":[{"address":"192.0.2.1/24","state":"ok"}]}`, "warn: no gateway of the node file has ever answered: check addresses and gateway"},
		{Address, `{"mode":"configured"}`, "fail: no address yet"},
		{Gateway, `{"gateways":[{"address":"192.0.2.1","reachable":true}]}`, "ok"},
		{Gateway, `{"gateways":[{"address":"192.0.2.1","reachable":true},{"address":"fe80::1"}]}`, "warn: gateway fe80::1 does not answer"},
		{Gateway, `{"gateways":[{"address":"fe80::1"}]}`, "fail: gateway fe80::1 does not answer"},
		{Gateway, `{}`, "fail: no gateway known"},
		{Clock, `{"synced":true}`, "ok"},
		{Clock, `{"error":"timeout"}`, "fail: no time server heard: timeout"},
		{project, `{"last_update":"2026-11-21T00:00:00Z","serving":true}`, "ok"},
		{project, `{"last_update":"2026-11-21T00:00:00Z"}`, "fail: not served until its publication is complete"},
		{project, `{"last_update":"2026-11-21T00:00:00Z","out_of_service":"2 of 9 files compared differ from upstream","wrong_files":2}`, "fail: out of service: 2 of 9 files compared differ from upstream"},
		{project, `{"last_update":"2026-11-21T00:00:00Z","serving":true,"checked_files":9,"wrong_files":2,"wrong_file":"pool/a\u001b"}`, `fail: 2 of 9 files compared differ from upstream, such as "pool/a\x1b"`},
		{project, `{"last_update":"2026-11-21T00:00:00Z","serving":true,"error_msg":"refused","failures":2}`, "ok"},
		{project, `{"last_update":"2026-11-21T00:00:00Z","serving":true,"error_msg":"has no module","failures":3}`, "fail: 3 synchronisations in a row have failed: has no module"},
		{project, `{"last_update":"2026-11-21T00:00:00Z","serving":true,"error_msg":"published without x"}`, "ok"},
		{project, `{"last_update":"2026-11-21T00:00:00Z","serving":true,"behind_since":"2026-11-20T12:00:00Z"}`, "ok"},
		{project, `{"last_update":"2026-11-21T00:00:00Z","serving":true,"behind_since":"2026-11-18T12:00:00Z"}`, "fail: behind upstream for 3 days"},
		{project, `{"last_update":"2026-11-18T12:00:00Z","serving":true,"error_msg":"refused"}`, "fail: last synchronised 3 days ago: refused"},
		{project, `{"last_update":"2026-11-18T12:00:00Z","serving":true}`, "fail: last synchronised 3 days ago"},
		{project, `{"error_msg":"refused"}`, "fail: never synchronised: refused"},
		{project, `{"status":"syncing"}`, "ok: first synchronisation is running"},
		{project, `{"last_update":"2026-11-21T00:00:00Z","serving":true,"stale":true,"content_time":"2026-11-19T12:00:00Z"}`, "fail: upstream itself is 2 days old"},
		{update, `{"version":"1","last_check":"2026-11-21T00:00:00Z"}`, "ok"},
		{update, `{"version":"1"}`, "ok"},
		{update, `{"state":"downloading","version":"1","target":"2"}`, "ok: downloading 2"},
		{update, `{"state":"good","version":"2","target":"2"}`, "ok"},
		{update, `{"state":"failed","version":"1","target":"2"}`, "warn: release 2 failed its trial here"},
		{update, `{"version":"1","last_check":"2026-11-21T00:00:00Z","error_msg":"signature"}`, "warn: signature"},
		{update, `{"version":"1","last_check":"2026-11-10T00:00:00Z"}`, "warn: last look for releases 11 days ago"},
		{update, `{`, "warn: report: unexpected end of JSON input"},
		{project, `{}`, "fail: not synchronised yet"},
		{cert, `{"state":"valid","not_after":"2026-12-21T00:00:00Z"}`, "ok"},
		{cert, `{"state":"off"}`, "ok"},
		{cert, `{"state":"valid","not_after":"2026-12-21T00:00:00Z","reason":"refused"}`, "warn: certificate not renewed: refused"},
		{cert, `{"state":"valid","not_after":"2026-11-21T00:00:00Z"}`, "warn: certificate expired 2026-11-21 00:00:00"},
		{cert, `{"state":"none","reason":"refused"}`, "fail: no certificate: refused"},
		{cert, `{`, "fail: no certificate: acmed's status file is damaged"},
	} {
		file := filepath.Join(t.TempDir(), "report")
		if err := os.WriteFile(file, []byte(tc.file), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := verdict(tc.check(file)(t.Context())); got != tc.want {
			t.Errorf("%s\n got %s\nwant %s", tc.file, got, tc.want)
		}
	}
	if got := verdict(Link("/nowhere/state.json")(t.Context())); !strings.HasPrefix(got, "fail: no report") {
		t.Error(got)
	}
}
