package kmod

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestLateLoadsWhatNothingWaitsFor(t *testing.T) {
	s := newSystem(t)
	s.write(t, "lib/modules/"+release+"/modules.alias", "alias cpu:type:x86* middle\nalias pci:v*bc0Csc03i* late\nalias pci:v*bc02* wd\n")
	s.write(t, "sys/devices/system/cpu/modalias", "cpu:type:x86,ven0000fam0006mod003C:feature:,0000\n")
	s.write(t, "sys/bus/pci/devices/usb/modalias", "pci:v00001022d00007814sv0sd0bc0Csc03i30\n")
	s.write(t, "sys/bus/pci/devices/lan/modalias", "pci:v000010ECd00008168sv0sd0bc02sc00i00\n")
	s.write(t, "health.json", `{"healthy":true}`)
	s.fail["soft"] = unix.ENODEV // sensor of another model
	late := Late{Names: []string{"soft", "nosuch"}, Healthy: filepath.Join(s.root, "health.json"), Patience: time.Hour}
	if err := late.Load(t.Context(), s.config()); err != nil {
		t.Error(err)
	}
	slices.Sort(s.calls)
	if d := cmp.Diff([]string{"base", "late", "middle", "soft"}, s.calls); d != "" {
		t.Errorf("calls (-want +got):\n%s", d)
	}
	s.fail["late"], s.calls = unix.EIO, nil
	if err := late.Load(t.Context(), s.config()); !errors.Is(err, unix.EIO) {
		t.Errorf("error %v, want %v", err, unix.EIO)
	}
}

func TestLateWaitsForHealth(t *testing.T) {
	s := newSystem(t)
	synctest.Test(t, func(t *testing.T) {
		late := Late{Healthy: filepath.Join(s.root, "health.json"), Patience: time.Minute}
		waited := func() time.Duration {
			start := time.Now()
			if err := late.wait(t.Context()); err != nil {
				t.Error(err)
			}
			return time.Since(start)
		}
		if got := waited(); got != time.Minute {
			t.Errorf("without a report: waited %v", got)
		}
		time.AfterFunc(9*time.Second+time.Millisecond, func() { s.write(t, "health.json", `{"healthy":true}`) })
		s.write(t, "health.json", `{"healthy":false}`)
		if got := waited(); got != 10*time.Second {
			t.Errorf("healthy after 9 s: waited %v", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.write(t, "health.json", `{`)
		if err := late.wait(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}
