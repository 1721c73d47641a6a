package supervise

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/daemon"
	"micromirror/packages/health"
)

// play lets a gate watch a node whose health is a function of the time since
// boot, and returns the console. It ends after d or with a reboot.
func play(t *testing.T, b Boot, m *Memory, d time.Duration, healthy func(time.Duration) bool) (console string, rebooted time.Duration) {
	t.Helper()
	var buf bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	start := time.Now()
	sick := []health.Outcome{{Name: "http", Status: health.Fail, Reason: "refused"}}
	well := []health.Outcome{{Name: "link", Status: health.OK}}
	g := &Gate{
		Boot: b, Timing: Defaults(), Memory: m, Log: daemon.NewLog("updated", io.Discard, &buf),
		Look: func(context.Context) health.Report {
			if healthy(time.Since(start)) {
				return health.Report{Healthy: true, Checks: well}
			}
			return health.Report{Checks: sick}
		},
		Rearm:  func() (Boot, bool, error) { return b, b.Trial, nil },
		Reboot: func(context.Context) error { rebooted = time.Since(start); cancel(); return nil },
	}
	if err := g.Run(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("gate ended with %v", err)
	}
	return buf.String(), rebooted
}

func memory(t *testing.T) *Memory {
	t.Helper()
	m, err := Remember(t.TempDir())
	if !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return m
}

var trial = Boot{Slot: "a", Generation: 2, Trial: true, TriesLeft: 4}

func TestHealthySlotIsRearmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory(t)
		console, rebooted := play(t, trial, m, time.Hour, func(d time.Duration) bool { return d > 40*time.Second })
		want := "<5>mm updated: slot a on trial, 4 tries left\n<5>mm updated: slot a healthy, re-armed\n"
		if d := cmp.Diff(want, console); d != "" || rebooted != 0 {
			t.Errorf("rebooted %v, console (-want +got):\n%s", rebooted, d)
		}
		if m.Counts(2, "link") || !m.Counts(3, "link") || m.Counts(3, "gateway") {
			t.Errorf("memory = %+v", m.m)
		}
	})
}

func TestFlappingSlotIsNotRearmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		console, rebooted := play(t, trial, memory(t), time.Hour, func(d time.Duration) bool { return d%(20*time.Second) < 15*time.Second })
		if strings.Contains(console, "re-armed") || rebooted < 10*time.Minute || rebooted > 11*time.Minute {
			t.Errorf("rebooted after %v, console:\n%s", rebooted, console)
		}
		if !strings.HasSuffix(console, "mm updated: unhealthy: http: refused, rebooting\n") {
			t.Errorf("console:\n%s", console)
		}
	})
}

func TestShortOutageAfterTheTrialChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, rebooted := play(t, trial, memory(t), 3*time.Hour, func(d time.Duration) bool {
			return d%time.Hour > 9*time.Minute || d < time.Hour
		})
		if rebooted != 0 {
			t.Errorf("rebooted after %v", rebooted)
		}
	})
}

func TestRebootsInARowBecomeRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory(t)
		fallback := Boot{Slot: "b", Generation: 1}
		var waits []time.Duration
		for range 10 {
			_, rebooted := play(t, fallback, m, 48*time.Hour, func(time.Duration) bool { return false })
			waits = append(waits, rebooted.Round(time.Minute))
		}
		min := time.Minute
		want := []time.Duration{10 * min, 20 * min, 40 * min, 80 * min, 160 * min, 320 * min, 640 * min, 1280 * min, longest, longest}
		if d := cmp.Diff(want, waits); d != "" {
			t.Errorf("waits (-want +got):\n%s", d)
		}
		play(t, fallback, m, 2*time.Hour, func(time.Duration) bool { return true })
		if m.Reboots() != 0 {
			t.Errorf("after two healthy hours %d reboots are remembered", m.Reboots())
		}
	})
}

func TestSupervisorThatStartsAgainKnowsTheBoot(t *testing.T) {
	for _, tc := range []struct {
		name string
		mark bool
		want time.Duration
	}{
		{"before the tries were full the trial goes on", false, time.Minute},
		{"afterwards it is over", true, 10 * time.Minute},
	} {
		mark := filepath.Join(t.TempDir(), "armed")
		if tc.mark {
			if err := os.WriteFile(mark, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		m := memory(t)
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			var rebooted time.Duration
			start := time.Now()
			g := &Gate{Boot: trial, Timing: Defaults(), Memory: m, Log: quiet, Mark: mark, Up: 9 * time.Minute,
				Look:   func(context.Context) health.Report { return health.Report{} },
				Reboot: func(context.Context) error { rebooted = time.Since(start); cancel(); return nil }}
			if err := g.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if rebooted.Round(time.Minute) != tc.want {
				t.Errorf("%s: rebooted after %v, want %v", tc.name, rebooted, tc.want)
			}
		})
	}
}

func TestRearmIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		calls := 0
		var console bytes.Buffer
		mark := filepath.Join(t.TempDir(), "armed")
		g := &Gate{Boot: trial, Timing: Defaults(), Memory: memory(t), Log: daemon.NewLog("updated", io.Discard, &console), Mark: mark,
			Look: func(context.Context) health.Report { return health.Report{Healthy: true} },
			Rearm: func() (Boot, bool, error) {
				if calls++; calls < 3 {
					return Boot{}, false, errors.New("ESP is not there")
				}
				return trial, true, nil
			}}
		if err := g.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if calls != 3 || !strings.HasSuffix(console.String(), "slot a healthy, re-armed\n") {
			t.Errorf("%d calls, console:\n%s", calls, console.String())
		}
		if _, err := os.Stat(mark); err != nil {
			t.Error(err)
		}
	})
}

// A release that is well for a minute after each start does not stay.
func TestReleaseThatIsHealthyForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory(t)
		if err := m.Bless(1, nil); err != nil {
			t.Fatal(err)
		}
		console, rebooted := play(t, trial, m, time.Hour, func(d time.Duration) bool { return d < time.Minute })
		if strings.Contains(console, "re-armed") || rebooted != Defaults().Window {
			t.Errorf("new: rebooted after %v, console:\n%s", rebooted, console)
		}
		// One that was found good is believed at once, but not for ever.
		if err := errors.Join(m.Bless(2, nil), m.Forget()); err != nil {
			t.Fatal(err)
		}
		armed := 0
		for range suspicious + 2 {
			console, rebooted := play(t, trial, m, 5*time.Hour, func(d time.Duration) bool { return d < time.Minute })
			if rebooted == 0 {
				t.Fatal("not rebooted")
			}
			armed += strings.Count(console, "re-armed")
		}
		if armed != suspicious {
			t.Errorf("its tries were made full %d times, want %d", armed, suspicious)
		}
		if console, _ := play(t, trial, m, 2*time.Hour, func(time.Duration) bool { return true }); !strings.Contains(console, "re-armed") || m.Reboots() != 0 {
			t.Errorf("well again: %d reboots remembered, console:\n%s", m.Reboots(), console)
		}
	})
}

// An ESP that cannot be written is not made writable every few seconds.
func TestRearmBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		calls := 0
		g := &Gate{Boot: trial, Timing: Defaults(), Memory: memory(t), Log: quiet,
			Look:  func(context.Context) health.Report { return health.Report{Healthy: true} },
			Rearm: func() (Boot, bool, error) { calls++; return Boot{}, false, errors.New("read-only") }}
		g.Run(ctx)
		if calls < 24 || calls > 40 {
			t.Errorf("%d attempts in a day", calls)
		}
	})
}

// A release that serves well, but cannot keep its tries, gives them up: each time
// later, since the fault may be the disk's.
func TestTrialThatCannotBeArmedIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory(t)
		if err := m.Bless(trial.Generation-1, nil); err != nil {
			t.Fatal(err)
		}
		for _, want := range []time.Duration{10 * time.Minute, 20 * time.Minute, 40 * time.Minute} {
			want += Defaults().Prove

			ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
			start, why := time.Now(), ""
			g := &Gate{Boot: trial, Timing: Defaults(), Memory: m, Log: quiet,
				Look:   func(context.Context) health.Report { return health.Report{Healthy: true} },
				Rearm:  func() (Boot, bool, error) { return Boot{}, false, errors.New("read-only") },
				GiveUp: func(reason string) { why = reason },
				Reboot: func(context.Context) error { cancel(); return nil }}
			g.Run(ctx)
			if took := time.Since(start); took.Round(time.Minute) != want || why != "tries cannot be made full: read-only" {
				t.Errorf("rebooted after %v, want %v, because %q", took, want, why)
			}
			cancel()
		}
	})
}

// What was not known when the node started is, once the tries are full.
func TestBlessWithUnreadEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, again := range []Boot{{Slot: "a", Unread: true}, {Slot: "a", Generation: 7, Trial: true, TriesLeft: 5}} {
			m := memory(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			blessed := 0
			g := &Gate{Boot: Boot{Slot: "a", Unread: true}, Timing: Defaults(), Memory: m, Log: quiet,
				Look: func(context.Context) health.Report {
					return health.Report{Healthy: true, Checks: []health.Outcome{{Name: "link", Status: health.OK}}}
				},
				Blessed: func() { blessed++ },
				Rearm:   func() (Boot, bool, error) { return again, true, nil }}
			g.Run(ctx)
			cancel()
			if blessed != 1 || m.m.Generation != again.Generation || m.Counts(8, "link") != (again.Generation > 0) {
				t.Errorf("blessed %d times, memory %+v", blessed, m.m)
			}
		}
	})
}

// The other slot is the way back until this one's tries are full.
func TestBlessedOnlyWithFullTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory(t)
		for range suspicious {
			if err := m.Count(); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*calm)
		defer cancel()
		var armed, blessed time.Duration
		start, attempts := time.Now(), 0
		g := &Gate{Boot: trial, Timing: Defaults(), Memory: m, Log: quiet,
			Look:    func(context.Context) health.Report { return health.Report{Healthy: true} },
			Blessed: func() { blessed = time.Since(start) },
			Rearm: func() (Boot, bool, error) {
				if attempts++; attempts == 1 {
					return Boot{}, false, errors.New("read-only")
				}
				armed = time.Since(start)
				return trial, true, nil
			}}
		g.Run(ctx)
		if armed < calm || blessed != armed {
			t.Errorf("tries full after %v, blessed after %v", armed, blessed)
		}
	})
}

// What was held against a release on the disk that was here does not count on one
// that was written anew; once a generation was found healthy there, it is known.
func TestMemoryOfAnotherDisk(t *testing.T) {
	dir := t.TempDir()
	boot := func(disk string) *Memory {
		m, _ := Remember(dir) // there is none at first
		m.On(disk)
		return m
	}
	m := boot("one")
	if err := errors.Join(m.Bless(7, []string{"gateway"}), m.Count()); err != nil {
		t.Fatal(err)
	}
	if m := boot("one"); !m.Counts(2, "gateway") || !m.New(2) || m.Reboots() != 1 {
		t.Error("the same disk's memory is lost")
	}
	for range 2 { // nothing is written until it was healthy
		if m = boot("two"); m.Counts(2, "gateway") || m.New(2) || m.Reboots() != 0 {
			t.Error("another disk's memory counts")
		}
	}
	if err := m.Bless(2, []string{"gateway"}); err != nil {
		t.Fatal(err)
	}
	if m := boot("two"); !m.Counts(3, "gateway") || m.Counts(2, "gateway") {
		t.Error("nothing was learned")
	}
}

func TestMemorySurvivesAndForgivesDamage(t *testing.T) {
	dir := t.TempDir()
	m, _ := Remember(dir)
	for _, err := range []error{m.Count(), m.Bless(7, []string{"link"})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	again, err := Remember(dir)
	if err != nil || again.Reboots() != 1 || !again.Counts(8, "link") {
		t.Errorf("memory = %+v, %v", again.m, err)
	}
	if err := os.WriteFile(dir+"/supervise.json", []byte(`{"reboots":3,"generation":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := Remember(dir); err == nil || m.Reboots() != 0 {
		t.Errorf("damaged memory = %+v, %v", m.m, err)
	}
}

// The reboots of a bad release are not held against the next one.
func TestNewReleaseAfterABadOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory(t)
		if err := m.Bless(trial.Generation-1, nil); err != nil {
			t.Fatal(err)
		}
		for range suspicious {
			if err := m.Count(); err != nil {
				t.Fatal(err)
			}
		}
		console, _ := play(t, trial, m, 2*Defaults().Prove, func(time.Duration) bool { return true })
		if !strings.Contains(console, "re-armed") {
			t.Errorf("not believed in after %v; console:\n%s", 2*Defaults().Prove, console)
		}
	})
}
