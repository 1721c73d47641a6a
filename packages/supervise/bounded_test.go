package supervise

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("why")
		if err := Bounded(time.Second, func() error { return why }); err != why {
			t.Error(err)
		}
		hang := make(chan error)
		defer close(hang)
		if err := Bounded(time.Second, func() error { return <-hang }); !errors.Is(err, ErrHung) || !strings.Contains(err.Error(), "within 1s") {
			t.Error(err)
		}
	})
}

// A disk that hangs delays the reboot by seconds.
func TestRebootOnADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory(t)
		answer := make(chan error)
		defer close(answer)
		m.write = func(string, []byte) error { return <-answer }
		_, rebooted := play(t, trial, m, time.Hour, func(time.Duration) bool { return false })
		if want := Defaults().Window + DiskLimit; rebooted != want {
			t.Errorf("rebooted after %v, want %v", rebooted, want)
		}
		if m.Reboots() != 1 {
			t.Errorf("%d reboots", m.Reboots())
		}
	})
}

// Reboots that cannot be counted would not become rare.
func TestReadOnlyDiskRebootsOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for range 2 {
			m, _ := Remember(dir)
			m.write = func(string, []byte) error { return fs.ErrPermission }
			_, rebooted := play(t, Boot{Slot: "b", Generation: 1}, m, 48*time.Hour, func(time.Duration) bool { return false })
			if rebooted.Round(time.Minute) != longest {
				t.Errorf("rebooted after %v, want %v", rebooted, longest)
			}
		}
		// A trial ends all the same: the loader counts.
		m, _ := Remember(dir)
		m.write = func(string, []byte) error { return fs.ErrPermission }
		if _, rebooted := play(t, trial, m, 48*time.Hour, func(time.Duration) bool { return false }); rebooted != Defaults().Window {
			t.Errorf("trial rebooted after %v", rebooted)
		}
	})
}
