package manage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"micromirror/packages/control"
	"micromirror/packages/durable"
	"micromirror/packages/layout"
)

// Names of the commands.
const (
	CommandStatus  = "status"
	CommandSync    = "sync"
	CommandLogs    = "logs"
	CommandDiag    = "diag"
	CommandReboot  = "reboot"
	CommandDrain   = "drain"
	CommandUndrain = "undrain"
)

// Box is the node that the commands are about.
type Box struct {
	Root    string // before every path; empty on a node
	Trigger string // syncd's socket
	Updater string // updated's socket
	Now     func() time.Time
}

// Node is the box itself.
func Node() Box {
	return Box{Trigger: layout.RunDir + "/syncd/trigger", Updater: layout.RunDir + "/updated/" + control.Socket, Now: time.Now}
}

// Commands are the fixed list.
func (b Box) Commands() map[string]Command {
	return map[string]Command{
		CommandStatus:  b.status,
		CommandSync:    b.sync,
		CommandLogs:    b.logs,
		CommandDiag:    b.diag,
		CommandReboot:  b.reboot,
		CommandDrain:   b.drain,
		CommandUndrain: b.undrain,
	}
}

// Status is what the status command answers; what a daemon has not published is
// left out.
type Status struct {
	Time          time.Time       `json:"time"`
	UptimeSeconds int64           `json:"uptime_seconds"`
	Drained       string          `json:"drained,omitempty"` // why
	Version       json.RawMessage `json:"version,omitempty"`
	Health        json.RawMessage `json:"health,omitempty"`
	Update        json.RawMessage `json:"update,omitempty"`
	Network       json.RawMessage `json:"network,omitempty"`
	Clock         json.RawMessage `json:"clock,omitempty"`
}

func (b Box) status(_ context.Context, args []string, w io.Writer) error {
	if len(args) > 0 {
		return errors.New("status takes no words")
	}
	s := Status{Time: b.Now().UTC()}
	for file, field := range map[string]*json.RawMessage{
		layout.VersionFile: &s.Version, layout.HealthFile: &s.Health, layout.RunDir + "/updated/update.json": &s.Update,
		layout.RunDir + "/netd/state.json": &s.Network, layout.RunDir + "/ntpd/clock.json": &s.Clock,
	} {
		if data, err := os.ReadFile(b.Root + file); err == nil && json.Valid(data) {
			*field = data
		}
	}
	if data, err := os.ReadFile(b.Root + "/proc/uptime"); err == nil {
		seconds, _, _ := strings.Cut(string(data), ".")
		s.UptimeSeconds, _ = strconv.ParseInt(seconds, 10, 64) // 0 if the kernel says otherwise
	}
	if data, err := os.ReadFile(b.drained()); err == nil {
		s.Drained = strings.TrimSpace(string(data))
	}
	return json.NewEncoder(w).Encode(s)
}

func (b Box) sync(ctx context.Context, args []string, w io.Writer) error {
	if len(args) != 1 && (len(args) != 2 || args[1] != "allow-shrink") {
		return errors.New("write: sync PROJECT, or sync PROJECT allow-shrink")
	}
	return told(w, control.Ask(ctx, b.Trigger, strings.Join(args, " ")))
}

func (b Box) reboot(ctx context.Context, args []string, w io.Writer) error {
	if len(args) > 0 {
		return errors.New("reboot takes no words")
	}
	return told(w, control.Ask(ctx, b.Updater, CommandReboot))
}

func (b Box) drained() string { return filepath.Join(b.Root+layout.ManageDir, layout.Drained) }

// drain makes the node say that it wants no users, until undrain or the next
// start. It serves on whoever comes.
func (b Box) drain(_ context.Context, args []string, w io.Writer) error {
	why := strings.Join(args, " ")
	if why == "" {
		why = "drained by a maintainer"
	}
	return told(w, durable.WriteFile(b.drained(), []byte(why+"\n"), 0o644))
}

func (b Box) undrain(_ context.Context, args []string, w io.Writer) error {
	if len(args) > 0 {
		return errors.New("undrain takes no words")
	}
	return told(w, durable.Remove(b.drained()))
}

// told answers that the command was taken, if it was.
func told(w io.Writer, err error) error {
	if err == nil {
		_, err = fmt.Fprintln(w, "ok")
	}
	return err
}
