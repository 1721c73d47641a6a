package consoled

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/mirror/status"
)

var update = flag.Bool("update", false, "write the golden screens anew")

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// well is a node without any trouble.
func well() Status {
	return Status{
		Now: noon, Up: 75 * time.Hour, Running: 75 * time.Hour, Name: "fra1.mirror.example", Sponsor: "Example Networks GmbH", Contact: "noc@mirror.example",
		Model: "HP t620 thin client", Version: "2026.11.21-0123456789", Upstream: "mirror.fcix.net", Broker: "mqtt.mirror.example:8883",
		Health: decode[Health](`{"time": "2026-11-22T11:59:50Z", "slot": "a", "version": "2026.11.21-0123456789", "healthy": true, "checks": [
			{"name": "space", "status": "ok", "reason": "312.4 of 1807.2 GiB free"},
			{"name": "wear", "status": "ok", "reason": "Samsung SSD 870 EVO 2TB, 3 % worn, 41 °C"},
			{"name": "watchdog", "status": "ok", "reason": "SP5100 TCO timer armed"},
			{"name": "temperature", "status": "ok", "reason": "52 °C (k10temp)"}]}`),
		Network: decode[Network](`{"mode": "configured", "uplink": "wan0", "mac": "a0:d3:c1:00:00:07", "driver": "r8169", "carrier": true, "speed_mbit": 1000,
			"addresses": [{"address": "192.0.2.7/24", "state": "ok"}, {"address": "2001:db8:0:7::80/64", "state": "ok"}],
			"gateways": [{"address": "192.0.2.1", "reachable": true}, {"address": "fe80::1", "reachable": true}]}`),
		Update: &Update{State: "idle", Version: "2026.11.21-0123456789", LastCheck: noon.Add(-time.Hour)},
		Projects: []Project{
			project("debian", status.Idle, 3*time.Hour), project("epel-amd64", status.Idle, 50*time.Minute),
			project("ubuntu-releases", status.Syncing, 26*time.Hour),
		},
	}
}

func decode[T any](text string) *T {
	v := new(T)
	if err := json.Unmarshal([]byte(text), v); err != nil {
		panic(err)
	}
	return v
}

func project(name, state string, age time.Duration) Project {
	return Project{State: status.State{Name: name, Status: state, Serving: true, LastUpdate: noon.Add(-age)}}
}

// ill adds outcomes to the health report.
func (s *Status) ill(outcomes ...Outcome) { s.Health.Checks = append(s.Health.Checks, outcomes...) }

// rescued takes away the gateways.
func (s *Status) rescued() {
	s.Network.Mode = "rescue"
	for i := range s.Network.Gateways {
		s.Network.Gateways[i].Reachable = false
	}
	s.ill(Outcome{"address", "warn", "no gateway of the node file has ever answered: check addresses and gateway"},
		Outcome{"gateway", "warn", "gateway 192.0.2.1 does not answer"})
}

// screens are what a node goes through.
var screens = map[string]func(s *Status){
	"all-well": func(*Status) {},
	"starting": func(s *Status) {
		s.Up, s.Running, s.Health, s.Network, s.Update = 40*time.Second, 20*time.Second, nil, nil, nil
	},
	"starting-without-cable": func(s *Status) {
		s.Up, s.Running, s.Health, s.Update = 40*time.Second, 25*time.Second, nil, nil
		s.Network.Carrier, s.Network.Gateways = false, nil
	},
	"no-link": func(s *Status) {
		s.Network.Carrier, s.Network.SpeedMbit = false, 0
		for i := range s.Network.Gateways {
			s.Network.Gateways[i].Reachable = false
		}
		s.ill(Outcome{"link", "warn", "no carrier"}, Outcome{"address", "skip", "needs link"})
	},
	"no-port": func(s *Status) {
		s.Network = &Network{}
		s.ill(Outcome{"port", "fail", "no network port found"}, Outcome{"link", "skip", "needs port"})
	},
	"wrong-gateway": func(s *Status) { s.rescued() },
	"bench": func(s *Status) {
		s.rescued()
		s.Network.Gateways[1].Reachable = true
	},
	"stick-is-tried": func(s *Status) {
		s.rescued()
		s.Stick = &Stick{State: "trying"}
	},
	"stick-refused": func(s *Status) {
		s.rescued()
		s.Stick = &Stick{State: "refused", Reason: `the stick has a file for "ams2", this box is "fra1"`}
	},
	"no-certificate": func(s *Status) {
		s.ill(Outcome{"certificate", "warn", "none yet: the authority does not reach port 80"}, Outcome{"https-ipv4", "skip", "needs certificate"})
	},
	"update-channel-expired": func(s *Status) {
		s.Update.Expired, s.Update.Error = true, "check: http://u.example/: metadata has expired (judged at 2026-11-22): timestamp.json is expired"
		s.ill(Outcome{"update", "warn", s.Update.Error})
	},
	"no-watchdog": func(s *Status) {
		s.ill(Outcome{"watchdog", "fail", "no watchdog is armed"})
	},
	"cable-just-pulled": func(s *Status) { s.Network.Carrier = false },
	"cable-just-back": func(s *Status) {
		s.ill(Outcome{"link", "warn", "no carrier"}, Outcome{"gateway", "warn", "gateway 192.0.2.1 does not answer"})
	},
	"one-gateway-silent": func(s *Status) {
		s.Network.Gateways[1].Reachable = false
		s.ill(Outcome{"gateway", "warn", "gateway fe80::1 does not answer"})
	},
	"address-conflict": func(s *Status) {
		s.Network.Addresses[0].State = "conflict"
		s.ill(Outcome{"address", "warn", "address 192.0.2.7/24: conflict"})
	},
	"no-address": func(s *Status) {
		s.Network.Addresses, s.Network.Gateways = nil, nil
		s.ill(Outcome{"address", "warn", "no address yet"})
	},
	"syncing": func(s *Status) {
		s.Projects[0] = Project{State: status.State{Name: "debian", Status: status.Syncing, Serving: true},
			Progress: &status.Progress{Phase: "fetch", BytesDone: 430e9, BytesTotal: 1000e9, BytesPerSecond: 24.6e6, ETASeconds: 23000}}
		s.Projects[1].Progress = &status.Progress{Phase: "list"}
		s.Projects[2].Serving = false
	},
	"updating":     func(s *Status) { s.Update.State, s.Update.Target = "downloading", "2026.12.01-abcdef0123" },
	"update-waits": func(s *Status) { s.Update.State, s.Update.Target = "waiting", "2026.12.01-abcdef0123" },
	"update-given-up": func(s *Status) {
		s.Update.State, s.Update.Target = "failed", "2026.12.01-abcdef0123"
		s.ill(Outcome{"update", "warn", "release 2026.12.01-abcdef0123 failed its trial here"})
	},
	"updates-off": func(s *Status) {
		s.Update = &Update{State: "idle", Error: "off, the fleet file names no update server"}
	},
	"disk-failing": func(s *Status) {
		s.ill(Outcome{"wear", "fail", "Samsung SSD 870 EVO 2TB, serial number S6PNNS0T: the disk expects to fail soon"})
		s.Health.Checks[1] = Outcome{}
	},
	"many-troubles": func(s *Status) {
		s.Health.Healthy = false
		s.ill(Outcome{"http-ipv4", "fail", "connection refused"}, Outcome{"rsync-ipv4", "fail", "no greeting"},
			Outcome{"space", "warn", "12 MiB free, less than 2 %"}, Outcome{"clock", "warn", "no time server heard"},
			Outcome{"watchdog", "fail", "no watchdog found"},
			Outcome{"temperature", "warn", "k10temp is at 95 °C, its limit is 90 °C"},
			Outcome{"disk", "fail", "file system of /perm/state/updated is read-only"},
			Outcome{"ext4", "warn", "3 file system errors on sda4; the next boot repairs them"},
			Outcome{"update", "warn", "signature of timestamp.json"}, Outcome{"novel", "warn", "never heard of"},
			Outcome{"project debian", "warn", "last synchronised 3 days ago: connection reset"})
	},
	"upstream-down": func(s *Status) {
		for _, name := range []string{"debian", "epel-amd64", "ubuntu-releases"} {
			s.ill(Outcome{"project " + name, "warn", "never synchronised: connect to 10.0.2.2:1: connection refused"})
		}
	},
	"slow-start": func(s *Status) {
		s.Up, s.Running = 10*time.Minute, 100*time.Second
		s.ill(Outcome{"http-ipv4", "fail", "connection refused"})
	},
	"ill-screen-restarted": func(s *Status) {
		s.Running = time.Second
		s.ill(Outcome{"http-ipv4", "fail", "connection refused"})
	},
	"many-projects": func(s *Status) {
		for _, name := range []string{"almalinux", "archlinux", "fedora-amd64", "gimp", "kali-images", "manjaro", "opensuse", "videolan", "a-name-that-is-too-long-for-its-column"} {
			s.Projects = append(s.Projects, project(name, status.Failed, 72*time.Hour))
		}
	},
	"unhealthy-supervisor": func(s *Status) { s.Health.Time = noon.Add(-time.Hour) },
	"without-configuration": func(s *Status) {
		*s = Status{Now: noon, Up: time.Hour, Unconfigured: true, Network: s.Network, Health: s.Health}
	},
	"hostile-words": func(s *Status) {
		s.Sponsor, s.Contact = "\x1b[2JÄrger\u202e株式会社\u0301", strings.Repeat("x", 100)
		s.ill(Outcome{"project debian", "warn", "never synchronised: \x1b]0;pwned\a\n" + strings.Repeat("long", 60)})
	},
}

func TestScreens(t *testing.T) {
	for name, change := range screens {
		s := well()
		change(&s)
		compare(t, name, Render(s).String()+"\n"+strings.Join(Lines(s), "\n")+"\n")
	}
	compare(t, "farewell", Farewell(well()).String())
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

// Whatever other programs report, a frame is 25 lines of 80 plain characters.
func FuzzRender(f *testing.F) {
	f.Add("Sponsor", "reason", "project debian", "fail", int64(5))
	f.Add("\x1b[2J", strings.Repeat("wide 株 ", 99), "address", "warn", int64(-1))
	f.Add("", "address ", "link", "fail", int64(1)<<62)
	f.Fuzz(func(t *testing.T, word, reason, check, outcome string, number int64) {
		s := well()
		s.Sponsor, s.Name, s.Network.MAC, s.Update.Target = word, word, word, reason
		s.Update.State = check
		s.ill(Outcome{check, outcome, reason})
		s.Projects[0].Progress = &status.Progress{Phase: word, BytesDone: number, BytesTotal: number / 2, BytesPerSecond: number, ETASeconds: number}
		for i, l := range Render(s) {
			if utf8.RuneCountInString(l.Text) != Columns || !utf8.ValidString(l.Text) {
				t.Errorf("line %d is %q", i, l.Text)
			}
			for _, r := range l.Text {
				if r < ' ' || r >= 0x7f && r < 0xa0 {
					t.Errorf("line %d has %q", i, r)
				}
			}
		}
	})
}

// However long the updater's words are, what is wrong finds its place.
func TestLongWordsLeaveRoomForProblems(t *testing.T) {
	long := strings.Repeat("get http://192.0.2.1:8080/metadata/2.root.json ", 9)
	now := time.Unix(1e9, 0)
	s := Status{Now: now, Up: time.Hour, Running: time.Hour, Update: &Update{Error: long}, Stick: &Stick{State: "refused", Reason: long},
		Network: &Network{Uplink: "wan0", MAC: "02:00:00:00:00:01", Carrier: true},
		Health: &Health{Time: now, Healthy: true, Checks: []Outcome{
			{Name: "space", Status: "ok", Reason: "1 of 2 GiB free"}, {Name: "update", Status: "warn", Reason: long}}}}
	if got := Render(s).String(); !strings.Contains(got, "The USB stick does not help") {
		t.Errorf("the problem is not shown:\n%s", got)
	}
}
