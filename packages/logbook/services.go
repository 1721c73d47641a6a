package logbook

import (
	"errors"
	"net"
	"path"
	"strings"

	"micromirror/packages/syslog"
)

// services takes the lines of the services until the socket is closed.
func (b *book) services() {
	gates := map[string]*gate{}
	buf := make([]byte, 64<<10)
	for {
		n, _, err := b.config.Services.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			b.config.Log.Error("the services' lines are not kept any more", "err", err)
			return
		}
		m, err := syslog.ParseLocal(buf[:n])
		if err != nil || m.Text == "" {
			continue
		}
		m.App, m.ID = path.Base(m.App), "service"
		m.Facility, m.Severity = syslog.Daemon, severityOf(m.Text)
		name := m.App
		if gates[name] == nil {
			if len(gates) >= maxGates {
				name = "others"
			}
			if gates[name] == nil {
				gates[name] = newGate(name)
			}
		}
		b.write(gates[name].pass(m)...)
	}
}

// maxGates bounds the services told apart: whoever can send here could invent
// names.
const maxGates = 64

// severityOf reads how bad a line is off what our own daemons and Go's runtime
// write.
func severityOf(line string) syslog.Severity {
	for _, word := range []struct {
		text string
		is   syslog.Severity
	}{
		{"level=ERROR ", syslog.Error}, {"level=WARN ", syslog.Warning}, {"level=NOTICE ", syslog.Notice}, {"level=DEBUG ", syslog.Debug},
	} {
		if strings.Contains(line, word.text) {
			return word.is
		}
	}
	for _, begin := range []string{"panic: ", "fatal error: ", "runtime: "} {
		if strings.HasPrefix(line, begin) {
			return syslog.Critical
		}
	}
	return syslog.Info
}
