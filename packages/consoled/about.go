package consoled

import (
	"encoding/json"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/hardware"
	"micromirror/packages/node"
)

// About is what does not change while a node runs: what it was told, which box it
// is made for, and the release.
func About(config *node.Config, models, image fs.FS) Status {
	s := Status{
		Name: config.Hostname(), Sponsor: config.Node.Sponsor.Name, Contact: config.Fleet.Contact,
		Upstream: config.Fleet.Upstream, Broker: config.Fleet.MQTT.Broker,
		Unconfigured: config.Node.Name == "",
	}
	if v := load[struct{ Version string }](image, "version.json"); v != nil {
		s.Version = v.Version
	}
	s.Model = config.Node.Hardware
	if list, err := hardware.Load(models); err == nil {
		for _, m := range list {
			if m.Model == config.Node.Hardware {
				s.Model = m.Title
			}
		}
	}
	return s
}

// Names are the projects hosted here.
func Names(config *node.Config) (names []string) {
	for _, p := range config.Projects() {
		names = append(names, p.Name)
	}
	return names
}

// Uptime is the time since the kernel started, whatever the clock was set to.
func Uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

func load[T any](fsys fs.FS, name string) *T {
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil
	}
	v := new(T)
	if err := json.Unmarshal(b, v); err != nil {
		return nil
	}
	return v
}
