// Package consoled shows people at the machine how it is.
//
// On the screen: who the box is and who hosts it, whether all is well, in plain
// words what is wrong and what to do about it, the facts about system, network,
// disk and projects, and what the box needs from the network. Anything that other
// programs report is shown as plain characters, one cell each.
//
// In the kernel log, and with it on the serial port, as "mm consoled: …": the
// same in a few lines, once the start is over and whenever it has changed.
//
// Promise: the screen is this program's alone (see package vt) and a frame never
// has more than 25 lines of 80 characters. It decides nothing and writes no file.
// When it is told to end it says that the box goes down, and leaves that standing.
// Beside it the program runs the second watch over the node (package watcher).
// The power button is not its business: init shuts the node down.
//
// Failure: whatever it cannot read is left out. Without a terminal it still
// writes to the log.
//
// Files read: /run/health.json, /run/netd/state.json, /run/updated/update.json,
// /run/syncd/, /perm/state/syncd/, /perm/node/ at start.
package consoled

import (
	"context"
	"io"
	"log/slog"
	"time"

	"micromirror/packages/daemon"
)

// Config is what Run works with.
type Config struct {
	// Gather tells how things are.
	Gather func() Status
	// Terminal is drawn on; nil for none. Rows and Columns are its size.
	Terminal      io.Writer
	Rows, Columns int
	// Show keeps the terminal in front. May be nil.
	Show func()
	Log  *slog.Logger
}

// Greet shows that the node starts, before anything is known of it.
func Greet(c Config) { c.draw(c.screen(), Render(Status{Now: time.Now()})) }

// interval is how often the screen is brought up to date.
const interval = time.Second

// Run keeps the screen up to date until ctx ends.
func Run(ctx context.Context, c Config) error {
	t := &teller{say: func(l string) { daemon.Notice(c.Log, l) }}
	s := c.screen()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		now := c.Gather()
		t.tell(now.Now, now)
		c.draw(s, Render(now))
		select {
		case <-ctx.Done():
			c.draw(s, Farewell(c.Gather()))
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// screen is nil without a terminal.
func (c *Config) screen() *screen {
	if c.Terminal == nil {
		return nil
	}
	return newScreen(c.Terminal, c.Rows, c.Columns)
}

// draw draws; a screen that fails is tried again with the next frame.
func (c *Config) draw(s *screen, f Frame) {
	if s == nil {
		return
	}
	if c.Show != nil {
		c.Show()
	}
	if err := s.draw(f); err != nil {
		c.Log.Info("screen", "err", err)
	}
}
