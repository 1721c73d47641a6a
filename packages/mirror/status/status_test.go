package status

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStateSurvives(t *testing.T) {
	dir := t.TempDir()
	if got := Load(dir, "demo"); got != (State{Name: "demo", Status: Never, Serving: true}) {
		t.Errorf("state of a project never synced = %+v", got)
	}
	want := State{Name: "demo", Title: "Demo", Status: Failed, LastUpdate: time.Unix(100, 0).UTC(), Upstream: "u", Path: "p", Size: 5, Files: 6, ErrorMsg: "why", Failures: 2}
	if err := want.Save(dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, Load(dir, "demo")); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestProgressIsThrottledAndMeasured(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(1000, 0)
	m := NewMeter(dir, "demo", func() time.Time { return now })
	read := func() (p Progress) {
		data, err := os.ReadFile(filepath.Join(dir, "demo.progress.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	m.Set(Progress{Phase: "fetch", BytesTotal: 1000})
	now = now.Add(100 * time.Millisecond)
	m.Set(Progress{Phase: "fetch", BytesTotal: 1000, BytesDone: 50})
	if p := read(); p.BytesDone != 0 {
		t.Errorf("written again after 100 ms: %+v", p)
	}
	now = now.Add(1900 * time.Millisecond)
	m.Set(Progress{Phase: "fetch", BytesTotal: 1000, BytesDone: 200})
	if diff := cmp.Diff(Progress{Phase: "fetch", BytesTotal: 1000, BytesDone: 200, BytesPerSecond: 100, ETASeconds: 8}, read()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	m.Set(Progress{Phase: "publish"})
	if p := read(); p.Phase != "publish" {
		t.Errorf("a new phase was not written: %+v", p)
	}
	m.Done()
	if _, err := os.Stat(filepath.Join(dir, "demo.progress.json")); err == nil {
		t.Error("progress file left behind")
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"name":"demo","status":"idle","serving":false,"last_update":"2026-01-02T03:04:05Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "demo.json"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		if s := Load(dir, "demo"); s.Name != "demo" {
			t.Errorf("state = %+v", s)
		}
	})
}

// A slow beginning does not spoil the remaining time for the rest of the phase.
func TestMeterForgetsASlowBeginning(t *testing.T) {
	dir, now := t.TempDir(), time.Unix(1e9, 0)
	m := NewMeter(dir, "demo", func() time.Time { return now })
	var done int64
	for second := range 60 {
		if second > 20 {
			done += 1 << 20
		}
		m.Set(Progress{Phase: "fetch", BytesDone: done, BytesTotal: 100 << 20})
		now = now.Add(time.Second)
	}
	data, err := os.ReadFile(filepath.Join(dir, "demo.progress.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got Progress
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if got.BytesPerSecond != 1<<20 {
		t.Errorf("rate = %d, want the %d of the last seconds", got.BytesPerSecond, 1<<20)
	}
}
