package health

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/smart"
)

// tree makes files below a new directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestSensors(t *testing.T) {
	const dog, cpu, board = "class/watchdog/watchdog0/", "class/hwmon/hwmon0/", "class/hwmon/hwmon1/"
	for _, tc := range []struct {
		name  string
		check func(sys string) func(context.Context) error
		files map[string]string
		want  string
	}{
		{"armed", Watchdog, map[string]string{dog + "state": "active", dog + "identity": "iTCO_wdt"}, "ok: iTCO_wdt armed"},
		{"second armed", Watchdog, map[string]string{dog + "state": "inactive", "class/watchdog/watchdog1/state": "active"}, "ok: armed"},
		{"not armed", Watchdog, map[string]string{dog + "state": "inactive"}, "fail: no watchdog is armed"},
		{"none", Watchdog, nil, "fail: no watchdog found"},
		{"no sensor", Temperature, nil, "ok"},
		{"warm", Temperature, map[string]string{cpu + "name": "k10temp", cpu + "temp1_input": "51500", board + "name": "drivetemp", board + "temp1_input": "38000"}, "ok: 51 °C (k10temp)"},
		{"broken sensor", Temperature, map[string]string{cpu + "temp1_input": "none"}, "ok"},
		{"own limit", Temperature, map[string]string{cpu + "name": "coretemp", cpu + "temp1_input": "91000", cpu + "temp1_crit": "105000"}, "ok: 91 °C (coretemp)"},
		{"at it", Temperature, map[string]string{cpu + "name": "drivetemp", cpu + "temp1_input": "70000", cpu + "temp1_crit": "70000"}, "fail: drivetemp is at 70 °C, its limit is 70 °C"},
		{"absurd limit", Temperature, map[string]string{cpu + "name": "acpitz", cpu + "temp1_input": "20000", cpu + "temp1_crit": "20000"}, "ok: 20 °C (acpitz)"},
		{"no limit", Temperature, map[string]string{cpu + "name": "acpitz", cpu + "temp1_input": "95000"}, "fail: acpitz is at 95 °C, its limit is 90 °C"},
	} {
		if got := verdict(tc.check(tree(t, tc.files))(t.Context())); got != tc.want {
			t.Errorf("%s: %s; want %s", tc.name, got, tc.want)
		}
	}
}

func TestWear(t *testing.T) {
	base := smart.Health{Model: "ACME", Serial: "S1", Worn: 3, Celsius: 40, Hours: 9}
	change := func(f func(*smart.Health)) smart.Health { h := base; f(&h); return h }
	for _, tc := range []struct {
		health smart.Health
		err    error
		want   string
	}{
		{base, nil, "ok: ACME, 3 % worn, 40 °C"},
		{change(func(h *smart.Health) { h.Worn = 90 }), nil, "warn: ACME, serial number S1: 90 % of its writes are used up"},
		{change(func(h *smart.Health) { h.Unreadable = 8 }), nil, "warn: ACME, serial number S1: 8 sectors cannot be read"},
		{change(func(h *smart.Health) { h.Failing, h.Why = true, []string{"this", "that"} }), nil, "fail: ACME, serial number S1: this, that"},
		{smart.Health{}, smart.ErrUnsupported, "ok"},
		{smart.Health{}, errors.New("timeout"), "warn: timeout"},
	} {
		if got := verdict(answer(tc.health, tc.err)); got != tc.want {
			t.Errorf("%s; want %s", got, tc.want)
		}
	}
}

func TestDiskIsAskedSeldom(t *testing.T) {
	dir := t.TempDir()
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	sys := tree(t, map[string]string{fmt.Sprintf("dev/block/%d:%d/size", unix.Major(st.Dev), unix.Minor(st.Dev)): "1"})
	now, asked := time.Unix(0, 0), 0
	d := &Disk{Dir: dir, Sys: sys, Now: func() time.Time { return now },
		Read: func(string) (smart.Health, error) {
			asked++
			return smart.Health{Model: "ACME", Worn: 1, Celsius: -1, Hours: -1}, nil
		}}
	for _, step := range []struct {
		pass time.Duration
		want int
	}{{0, 1}, {time.Minute, 1}, {often, 2}, {-time.Hour, 3}} {
		now = now.Add(step.pass)
		if got := verdict(d.Wear(t.Context())); got != "ok: ACME, 1 % worn" || asked != step.want {
			t.Errorf("after %v: %s, asked %d times, want %d", step.pass, got, asked, step.want)
		}
	}
	d.at, d.Dir = time.Time{}, "/proc"
	if got := verdict(d.Wear(t.Context())); !strings.HasPrefix(got, "warn: disk of /proc") {
		t.Errorf("not on a disk: %s", got)
	}
}
