package update

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"micromirror/packages/fetch"
	"micromirror/packages/rollout"
)

// untouched checks that nothing was written to the slot that does not run.
func (b *box) untouched() {
	b.t.Helper()
	part, err := os.ReadFile(b.parts[b.slot.Other()])
	if err != nil || len(bytes.Trim(part, "\x00")) != 0 {
		b.t.Errorf("something was written to the other root partition: %v", err)
	}
	if _, err := os.Stat(filepath.Join(string(b.esp), b.slot.Other().Dir())); err == nil {
		b.t.Error("something was written to the other slot's folder")
	}
}

// file returns an altering handler for the files whose path ends so.
func file(suffix string, answer http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, suffix) {
			return false
		}
		answer(w, r)
		return true
	}
}

// original is what the repository has at a request's path.
func (f *fleet) original(r *http.Request) []byte {
	b, err := os.ReadFile(filepath.Join(f.repo.Dir, r.URL.Path))
	if err != nil {
		f.t.Error(err)
	}
	return b
}

// version is the newest version of a role's metadata.
func (f *fleet) version(role string) int {
	files, _ := filepath.Glob(filepath.Join(f.repo.Dir, "metadata", "*."+role+".json"))
	newest := 0
	for _, file := range files {
		n, _, _ := strings.Cut(filepath.Base(file), ".")
		v, _ := strconv.Atoi(n)
		newest = max(newest, v)
	}
	return newest
}

func TestAttacksAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		attack func(f *fleet, b *box)
		reason string
	}{
		"unsigned": {func(f *fleet, _ *box) {
			f.attack(file("timestamp.json", func(w http.ResponseWriter, r *http.Request) {
				var m map[string]any
				if err := json.Unmarshal(f.original(r), &m); err != nil {
					f.t.Error(err)
				}
				m["signatures"] = []any{}
				json.NewEncoder(w).Encode(m)
			}))
		}, "not signed by the keys that this node trusts"},
		"wrong key": {func(f *fleet, _ *box) {
			other := newFleet(f.t)
			other.publish("2026.11.02")
			f.attack(func(w http.ResponseWriter, r *http.Request) bool {
				http.FileServer(http.Dir(other.repo.Dir)).ServeHTTP(w, r)
				return true
			})
		}, "not signed by the keys that this node trusts"},
		"frozen": {func(_ *fleet, b *box) { b.now = epoch.Add(40 * day) }, "metadata has expired"},
		"mix and match: an older list of versions": {func(f *fleet, _ *box) {
			newest := f.version("snapshot")
			f.attack(file(fmt.Sprintf("/%d.snapshot.json", newest), func(w http.ResponseWriter, r *http.Request) {
				r.URL.Path = fmt.Sprintf("/metadata/%d.snapshot.json", newest-1)
				w.Write(f.original(r))
			}))
		}, "mixed or damaged"},
		"mix and match: an older list of files": {func(f *fleet, _ *box) {
			newest := f.version("targets")
			f.attack(file(fmt.Sprintf("/%d.targets.json", newest), func(w http.ResponseWriter, r *http.Request) {
				r.URL.Path = fmt.Sprintf("/metadata/%d.targets.json", newest-1)
				w.Write(f.original(r))
			}))
		}, "mixed or damaged"},
		"endless metadata": {func(f *fleet, _ *box) {
			f.attack(file("timestamp.json", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, endless{}) }))
		}, "longer than allowed"},
		"endless file": {func(f *fleet, _ *box) {
			f.attack(file("initrd", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, endless{}) }))
		}, "initrd"},
		"slow server": {func(f *fleet, _ *box) {
			f.attack(file("root.img", func(w http.ResponseWriter, r *http.Request) {
				w.Write(f.original(r)[:1])
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			}))
		}, "root.img"},
		"slow metadata": {func(f *fleet, _ *box) {
			f.attack(file("timestamp.json", func(w http.ResponseWriter, r *http.Request) {
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			}))
		}, "timestamp.json"},
		"tampered index": {func(f *fleet, _ *box) {
			f.attack(file("root.img.chunks", func(w http.ResponseWriter, r *http.Request) {
				b := f.original(r)
				b[len(b)/2] ^= 1
				w.Write(b)
			}))
		}, "root.img.chunks"},
		"tampered description": {func(f *fleet, _ *box) {
			f.attack(file("release.json", func(w http.ResponseWriter, r *http.Request) {
				w.Write(bytes.Replace(f.original(r), []byte("panic=5"), []byte("panic=9"), 1))
			}))
		}, "release.json"},
		"tampered decision": {func(f *fleet, _ *box) {
			f.attack(file("rollout.json", func(w http.ResponseWriter, r *http.Request) {
				w.Write(bytes.Replace(f.original(r), []byte("100"), []byte("10 "), 1))
			}))
		}, "rollout.json"},
		"truncated blocks": {func(f *fleet, _ *box) {
			f.attack(file("root.img", func(w http.ResponseWriter, r *http.Request) {
				short := f.original(r)
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(short[:len(short)/16]))
			}))
		}, "root.img"},
		"flipped blocks": {func(f *fleet, _ *box) {
			f.attack(file("root.img", func(w http.ResponseWriter, r *http.Request) {
				wrong := f.original(r)
				for i := 0; i < len(wrong); i += 1000 {
					wrong[i] ^= 1
				}
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(wrong))
			}))
		}, "wrong data"},
		"clock in 2099": {func(_ *fleet, b *box) { b.now = time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC) }, "metadata has expired (judged at 2099-01-01)"},
		"clock in 1970, metadata expired before the time last seen": {func(f *fleet, b *box) {
			f.mu.Lock()
			f.now = epoch.Add(100 * day)
			f.mu.Unlock()
			b.now = epoch.Add(100 * day)
			if err := f.repo.Renew(f.t.Context()); err != nil {
				f.t.Fatal(err)
			}
			b.step() // sees the time, and takes nothing: the decision is not for it
			b.now, b.synced = time.Unix(0, 0), false
			f.mu.Lock()
			f.now = epoch.Add(50 * day) // what was valid then is no longer
			f.mu.Unlock()
			f.decide(rollout.Rollout{Version: "2026.11.02", Percent: 100})
		}, "metadata has expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			b := f.newBox("one", "2026.11.01")
			b.boot()
			b.step() // the pass of the start
			f.add("2026.11.02")
			if strings.HasPrefix(name, "clock in 1970") {
				f.decide(rollout.Rollout{Version: "2026.11.02", Percent: 0})
			} else {
				f.decide(rollout.Rollout{Version: "2026.11.02", Percent: 100})
			}
			c.attack(f, b)
			b.step()
			if !strings.Contains(b.problem(), c.reason) {
				t.Errorf("reason %q, want one with %q", b.problem(), c.reason)
			}
			b.runs("2026.11.01")
			b.untouched()
			// It was the attack and nothing else.
			f.attack(nil)
			f.mu.Lock()
			f.now = epoch
			if b.saved().Seen.After(epoch.Add(day)) {
				f.now = epoch.Add(100 * day)
			}
			f.mu.Unlock()
			b.now, b.synced = f.repo.Now(), true
			if err := f.repo.Renew(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.settle()
			b.runs("2026.11.02")
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// What was seen once is the least that is accepted, on every server.
func TestReplayIsRefused(t *testing.T) {
	f := newFleet(t)
	f.publish("2026.11.02")
	old := t.TempDir()
	if err := os.CopyFS(old, os.DirFS(f.repo.Dir)); err != nil {
		t.Fatal(err)
	}
	f.publish("2026.11.03")
	b := f.newBox("one", "2026.11.03")
	b.boot()
	b.settle()
	b.bases = []string{f.serve(old)}
	b.start()
	b.settle()
	if !strings.Contains(b.problem(), "older than what was seen before") {
		t.Errorf("reason %q", b.problem())
	}
	b.runs("2026.11.03")
	b.untouched()
	// One server that stands still does not hold back the others.
	f.publish("2026.11.04")
	b.bases = append(b.bases, f.url)
	b.start()
	b.settle()
	b.runs("2026.11.04")
}

// A clock that nobody has set neither opens nor closes the channel.
func TestUntrustedClock(t *testing.T) {
	for _, now := range []time.Time{time.Unix(0, 0), time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)} {
		f := newFleet(t)
		b := f.newBox("one", "2026.11.01")
		b.now, b.synced = now, false
		b.boot()
		f.publish("2026.11.02")
		b.settle()
		b.runs("2026.11.02")
	}
}

// The trusted files on the disk may be damaged: they are got anew.
func TestDamagedMetadata(t *testing.T) {
	f := newFleet(t)
	f.publish("2026.11.02")
	for role, damage := range map[string]string{"root": "", "timestamp": "{", "snapshot": "", "targets": "{}"} {
		b := f.newBox("one", "2026.11.01")
		c := &Channel{Bases: []string{f.url}, Root: []byte(b.read("root.json")), Dir: t.TempDir(), Limit: time.Minute, Get: get}
		if _, err := c.Refresh(t.Context(), epoch); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(c.file(role), []byte(damage), 0o644); err != nil {
			t.Fatal(err)
		}
		cat, err := c.Refresh(t.Context(), epoch)
		if err != nil {
			t.Errorf("%s: %v", role, err)
			continue
		}
		if b, err := os.ReadFile(c.file(role)); err != nil || string(b) == damage {
			t.Errorf("%s stays damaged", role)
		}
		if b, err := cat.Read(t.Context(), rollout.Target, 1<<20); err != nil || len(b) == 0 {
			t.Error(err)
		}
	}
}

func get(ctx context.Context, url string, max int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	a, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return nil, &fetch.StatusError{Code: a.StatusCode}
	}
	return io.ReadAll(io.LimitReader(a.Body, max))
}
