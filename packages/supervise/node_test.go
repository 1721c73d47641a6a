package supervise

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"micromirror/packages/authority"
	"micromirror/packages/disk"
	"micromirror/packages/identity"
	"micromirror/packages/slot"
)

var quiet = slog.New(slog.DiscardHandler)

// entry is a boot entry of the running disk as the slot package writes it.
func entry(n slot.Name, generation uint64) slot.Entry {
	return slot.Entry{Slot: n, Generation: generation, Release: "2026.11.21-test", Options: disk.RootArgument(disk.NewGUID(), n.Partition())}
}

// newESP is a file system in memory with two entries, a preferred and counted.
func newESP(t *testing.T) *ESP {
	t.Helper()
	e := &ESP{Device: "esp", Dir: filepath.Join(t.TempDir(), "esp"), Type: "tmpfs"}
	if err := e.Mount(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(e.Dir, unix.MNT_DETACH) })
	err := e.Change(func(dir string) error {
		err := os.MkdirAll(filepath.Join(dir, slot.EntriesDir), 0o755)
		a := entry(slot.A, 2).WithTries(3)
		a.TriesLeft, a.TriesDone = 2, 1
		return errors.Join(err, slot.Put(dir, a), slot.Put(dir, entry(slot.B, 1)))
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestESP(t *testing.T) {
	e := newESP(t)
	if err := os.WriteFile(e.Dir+"/x", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing to the resting ESP: %v", err)
	}
	b, release, err := e.Boot(slot.A)
	want := Boot{Slot: "a", Generation: 2, Trial: true, TriesLeft: 2}
	if d := cmp.Diff(want, b); d != "" || err != nil || release != "2026.11.21-test" {
		t.Errorf("release %q, error %v, boot (-want +got):\n%s", release, err, d)
	}
	if _, armed, err := e.Rearm(slot.A); err != nil || !armed {
		t.Errorf("re-arm a: %v, %v", armed, err)
	}
	if b, _, err := e.Boot(slot.A); err != nil || b.TriesLeft <= 2 || !b.Trial {
		t.Errorf("after re-arming: %+v, %v", b, err)
	}
	if _, armed, err := e.Rearm(slot.B); err != nil || armed {
		t.Errorf("re-arm the fallback: %v, %v", armed, err)
	}
	if b, _, err := e.Boot(slot.B); err != nil || b.Trial {
		t.Errorf("fallback: %+v, %v", b, err)
	}
	if _, _, err := e.Boot("c"); err == nil {
		t.Error("a slot without entry has none to tell")
	}
	if err := os.WriteFile(e.Dir+"/x", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing after a change: %v", err)
	}
}

// The power failed while the other slot's entry was written.
func TestRearmBesideADamagedEntry(t *testing.T) {
	e := newESP(t)
	err := e.Change(func(dir string) error {
		return errors.Join(slot.Drop(dir, slot.B), slot.Put(dir, entry(slot.A, 2)), os.WriteFile(filepath.Join(dir, slot.EntriesDir, "slot-b+3.conf"), nil, 0o644))
	})
	if err != nil {
		t.Fatal(err)
	}
	b, armed, err := e.Rearm(slot.A)
	if want := (Boot{Slot: "a", Generation: 2, Alone: true}); err != nil || !armed || b != want {
		t.Errorf("re-armed: %+v, %v, %v; want %+v", b, armed, err, want)
	}
	if b, armed, err := e.Rearm(slot.B); err == nil || armed {
		t.Errorf("a slot without an entry was re-armed: %+v, %v", b, armed)
	}
}

// Without a better slot to fall back to, rebooting every few minutes cures
// nothing: the entry is judged as a fallback is.
func TestBootWithoutAnotherSlot(t *testing.T) {
	used := func(n slot.Name, generation uint64) slot.Entry {
		e := entry(n, generation).WithTries(3)
		e.TriesLeft, e.TriesDone = 0, 3
		return e
	}
	for name, c := range map[string]struct {
		entries []slot.Entry
		want    bool
	}{
		"last try, a fallback there": {[]slot.Entry{used(slot.A, 2), entry(slot.B, 1)}, true},
		"nothing else":               {[]slot.Entry{used(slot.A, 2)}, false},
		"the other one is bad, too":  {[]slot.Entry{used(slot.A, 2), used(slot.B, 3)}, false},
		"tries left, nothing else":   {[]slot.Entry{entry(slot.A, 2).WithTries(3)}, true},
	} {
		e := &ESP{Dir: t.TempDir()}
		if err := os.MkdirAll(filepath.Join(e.Dir, slot.EntriesDir), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, entry := range c.entries {
			if err := slot.Put(e.Dir, entry); err != nil {
				t.Fatal(err)
			}
		}
		if b, _, err := e.Boot(slot.A); err != nil || b.Trial != c.want || b.Last == c.want || b.Alone != (len(c.entries) == 1) {
			t.Errorf("%s: %+v, %v", name, b, err)
		}
	}
}

// initSocket is gokrazy's socket with another handler behind it.
func initSocket(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sock")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", dir+"/s")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return dir + "/s"
}

func TestRebootByInit(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var asked string
	r := &Rebooter{Limit: time.Minute, Log: quiet, Force: func() error { t.Error("forced"); return nil }}
	r.Socket = initSocket(t, func(_ http.ResponseWriter, req *http.Request) {
		asked = req.Method + " " + req.URL.Path + " " + req.FormValue("kexec") + " " + req.FormValue("wait_per_signal")
		cancel() // init stops us
	})
	if err := r.Reboot(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if asked != "POST /reboot off 10s" {
		t.Errorf("asked %q", asked)
	}
}

func TestRebootByForceWhenInitDoesNot(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"refuses":  func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) },
		"promises": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "Rebooting...\n") },
		"hangs":    func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		forced := false
		r := &Rebooter{Socket: initSocket(t, h), Limit: 50 * time.Millisecond, Log: quiet, Force: func() error { forced = true; return nil }}
		r.Reboot(t.Context())
		if !forced {
			t.Errorf("%s: not forced", name)
		}
	}
}

// partition is an identity partition in a file.
func partition(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "p5"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(2 * identity.HalfSize); err != nil {
		t.Fatal(err)
	}
	return f
}

func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestIdentityComesBackToANewPerm(t *testing.T) {
	dev, dir := partition(t), t.TempDir()
	keptIn := func(dir string) []Kept {
		return []Kept{
			{Prefix: "", Dir: dir + "/node", Mode: 0o644, Only: []string{"node.json", "fleet.json"}},
			{Prefix: "acme/", Dir: dir + "/acme", UID: 804, Mode: 0o600},
			{Prefix: "none/", Dir: dir + "/none"},
		}
	}
	put(t, dir+"/node", map[string]string{"node.json": `{"name":"one"}`, "fleet.json": `{}`, "notes.txt": "mine"})
	put(t, dir+"/acme", map[string]string{"account": "key", "empty": "", ".tmp": "x"})
	for _, want := range []bool{true, false} { // the second time nothing is new
		if written, err := Refresh(dev, keptIn(dir)); err != nil || written != want {
			t.Fatalf("refresh: %v, %v; want %v", written, err, want)
		}
	}
	set, err := identity.Read(dev)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"acme/account", "fleet.json", "node.json"}, slices.Sorted(maps.Keys(set))); d != "" {
		t.Errorf("kept (-want +got):\n%s", d)
	}
	// A new /perm, on which something damaged is already there.
	fresh := t.TempDir()
	put(t, fresh+"/node", map[string]string{"node.json": `{"na`, "fleet.json": `{"domain":"newer"}`})
	restored, err := Restore(set, keptIn(fresh))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"acme/account", "node.json"}, restored); d != "" {
		t.Errorf("restored (-want +got):\n%s", d)
	}
	var st unix.Stat_t
	if err := unix.Stat(fresh+"/acme/account", &st); err != nil || st.Uid != 804 || st.Mode&0o777 != 0o600 {
		t.Errorf("account: owner %d, mode %o, %v", st.Uid, st.Mode, err)
	}
	if b, _ := os.ReadFile(fresh + "/node/fleet.json"); string(b) != `{"domain":"newer"}` {
		t.Errorf("fleet.json = %s", b)
	}
	// What the new /perm lacks stays on the partition.
	if _, err := Refresh(dev, keptIn(fresh)[:1]); err != nil {
		t.Fatal(err)
	}
	if set, err := identity.Read(dev); err != nil || len(set) != 3 || !strings.Contains(string(set["fleet.json"]), "newer") {
		t.Errorf("set = %q, %v", set, err)
	}
}

// Daemons wait for the node file: what else they read is there before it. A file
// that can be told to be damaged is none.
func TestRestoreLastAndValid(t *testing.T) {
	dir := t.TempDir()
	kept := []Kept{
		{Dir: dir, Mode: 0o644, Only: []string{"node.json"}, Last: true},
		{Dir: dir, Mode: 0o600, Only: []string{"secret.json"}},
		{Dir: dir, Mode: 0o600, Only: []string{"key"}, Valid: func(b []byte) bool { return string(b) == "whole" }},
	}
	put(t, dir, map[string]string{"key": "damaged"})
	set := identity.Set{"key": []byte("whole"), "node.json": []byte("{}"), "secret.json": []byte("{}")}
	restored, err := Restore(set, kept)
	if d := cmp.Diff([]string{"key", "secret.json", "node.json"}, restored); err != nil || d != "" {
		t.Errorf("%v, restored (-want +got):\n%s", err, d)
	}
	set["key"] = []byte("damaged, too")
	if restored, err := Restore(set, kept); err != nil || len(restored) != 0 {
		t.Errorf("restored %v, %v", restored, err)
	}
}

// A certificate that the disk has damaged neither spoils the second copy nor keeps
// it away.
func TestDamagedCertificateComesBack(t *testing.T) {
	ca, err := authority.New()
	if err != nil {
		t.Fatal(err)
	}
	good, err := ca.Issue(time.Now().Add(time.Hour), "node.example")
	if err != nil {
		t.Fatal(err)
	}
	dev, dir := partition(t), t.TempDir()
	kept := []Kept{{Prefix: "acme/", Dir: dir, UID: os.Getuid(), Mode: 0o600, Valid: WholePEM}}
	for name, content := range map[string]string{
		"half": string(good[:len(good)/2]), "noise": "\x00\xff", "a page of zeros": string(make([]byte, 4096)),
		"a letter": strings.Replace(string(good), "MI", "MJ", 1), "something before": "x\n" + string(good),
	} {
		put(t, dir, map[string]string{"certificate.pem": string(good), "order.json": "{}"})
		if _, err := Refresh(dev, kept); err != nil {
			t.Fatal(err)
		}
		put(t, dir, map[string]string{"certificate.pem": content})
		if written, err := Refresh(dev, kept); err != nil || written {
			t.Errorf("%s: kept: %v, %v", name, written, err)
		}
		set, err := identity.Read(dev)
		if err != nil {
			t.Fatal(err)
		}
		if restored, err := Restore(set, kept); err != nil || len(restored) != 1 {
			t.Errorf("%s: restored %v, %v", name, restored, err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "certificate.pem")); err != nil || string(got) != string(good) {
			t.Errorf("%s: %v, got %q", name, err, got)
		}
	}
}

func TestRestoreStaysInItsDirectories(t *testing.T) {
	dir := t.TempDir()
	set := identity.Set{"../evil": []byte("x"), "a/../../evil": []byte("x"), ".hidden": []byte("x"), "acme/sub/x": []byte("x"), "acme/": []byte("x"), "other": []byte("x")}
	restored, err := Restore(set, []Kept{{Dir: dir + "/node", Mode: 0o644, Only: []string{"node.json"}}, {Prefix: "acme/", Dir: dir + "/acme", Mode: 0o644}})
	if err != nil || len(restored) != 0 {
		t.Errorf("restored %v, %v", restored, err)
	}
}

func TestServicesAreRestarted(t *testing.T) {
	proc := t.TempDir()
	for pid, cmdline := range map[string]string{
		"1": "/user/odd\x00", "20": "/user/httpd\x00-listen\x00:80\x00", "21": "/user/updated\x00", "22": "/gokrazy/ntp\x00", "23": "", "24": "/user/sub/x\x00", "self": "/user/x\x00",
	} {
		put(t, filepath.Join(proc, pid), map[string]string{"cmdline": cmdline})
	}
	var killed []int
	s := Services{Proc: proc, Dir: "/user", Self: 21, Kill: func(pid int) error { killed = append(killed, pid); return nil }}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]int{20}, killed); d != "" {
		t.Errorf("killed (-want +got):\n%s", d)
	}
}

func TestTrimIsWeekly(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		trims, grows := 0, 0
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		u := &Upkeep{
			Grow:    func() (bool, error) { grows++; return true, nil },
			Trim:    func() (uint64, error) { trims++; return 0, nil },
			Refresh: func() (bool, error) { return false, nil },
			Stamp:   filepath.Join(dir, "trimmed"), Log: quiet,
		}
		for range 2 { // two boots within a week
			if err := u.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			// The bubble's clock is not that of the file system.
			if err := os.Chtimes(u.Stamp, time.Now(), time.Now()); err != nil {
				t.Fatal(err)
			}
			var again context.CancelFunc
			ctx, again = context.WithTimeout(t.Context(), time.Hour)
			defer again()
		}
		if trims != 1 || grows != 2 {
			t.Errorf("%d trims, %d growths", trims, grows)
		}
	})
}

// The file server is waited for until it has gone, the others are left alone.
func TestDrain(t *testing.T) {
	proc := t.TempDir()
	for pid, program := range map[string]string{"7": "/user/httpd", "8": "/user/syncd", "9": "/gokrazy/httpd"} {
		put(t, filepath.Join(proc, pid), map[string]string{"cmdline": program + "\x00-x"})
	}
	var killed []int
	s := Services{Proc: proc, Dir: "/user", Self: 1, Kill: func(pid int) error {
		killed = append(killed, pid)
		time.AfterFunc(10*time.Millisecond, func() { os.RemoveAll(filepath.Join(proc, "7")) })
		return nil
	}}
	if err := s.Drain(t.Context(), "httpd"); err != nil || !slices.Equal(killed, []int{7}) {
		t.Errorf("killed %v, %v", killed, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.Kill = func(int) error { cancel(); return nil }
	if err := s.Drain(ctx, "syncd"); !errors.Is(err, context.Canceled) {
		t.Errorf("one that does not end: %v", err)
	}
}
