package logbook

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"micromirror/packages/daemon"
	"micromirror/packages/spool"
	"micromirror/packages/syslog"
)

// How often is looked for new lines, how often the places are kept, and how long
// is waited after a failure, doubled each time.
const (
	lookInterval = time.Second
	saveInterval = 10 * time.Second
	firstWait    = time.Second
	longestWait  = time.Minute
)

// stream is a log on its way to the collector.
type stream struct {
	name   string
	reader *spool.Reader
	// frame adds a line in the form in which it travels.
	frame func(frames, line []byte) []byte
}

// shipper sends the streams.
type shipper struct {
	sink    *syslog.Collector
	streams []stream
	saved   time.Time
	down    bool
	log     *slog.Logger
}

func newShipper(c *Config) *shipper {
	s := &shipper{sink: c.Sink, log: c.Log, saved: time.Now()}
	s.streams = append(s.streams, stream{
		"node", spool.Follow(c.Dir, ringName, ringFiles, filepath.Join(c.Dir, "node.place")), syslog.AppendFrame,
	})
	if a := c.Access; a.Dir != "" {
		s.streams = append(s.streams, stream{
			"access", spool.Follow(a.Dir, a.Name, a.Files, filepath.Join(c.Dir, "access.place")), framing(c.Host),
		})
	}
	return s
}

// framing wraps lines of the access log of a host.
func framing(host string) func(frames, line []byte) []byte {
	var message []byte
	return func(frames, line []byte) []byte {
		m := syslog.Message{
			Facility: syslog.Local0, Severity: syslog.Info, Time: timeOf(line), Host: host, App: "httpd", ID: "access", Text: string(line),
		}
		message = m.Append(message[:0])
		return syslog.AppendFrame(frames, message)
	}
}

// timeOf finds the time in a line of the Common Log Format, zero if there is none.
func timeOf(line []byte) time.Time {
	_, rest, _ := bytes.Cut(line, []byte(" ["))
	stamp, _, _ := bytes.Cut(rest, []byte("]"))
	t, err := time.Parse("02/Jan/2006:15:04:05 -0700", string(stamp))
	if err != nil {
		return time.Time{}
	}
	return t
}

// run sends until ctx ends, over as many connections as it takes.
func (s *shipper) run(ctx context.Context) {
	defer s.close()
	wait := firstWait
	for ctx.Err() == nil {
		sent, err := s.session(ctx)
		s.save()
		if ctx.Err() != nil {
			return
		}
		if !s.down {
			s.down = true
			s.log.Warn("logs wait for the collector", "collector", s.sink.Addr, "err", err)
		}
		if sent {
			wait = firstWait
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, longestWait)
	}
}

// session sends over one connection until it breaks. It reports whether anything
// was confirmed.
func (s *shipper) session(ctx context.Context) (sent bool, err error) {
	conn, err := s.sink.Dial(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		more, err := s.round(ctx, conn)
		if err != nil {
			return sent, err
		}
		if more && s.down {
			s.down = false
			daemon.Notice(s.log, "logs reach the collector", "collector", s.sink.Addr)
		}
		sent = sent || more
		if time.Since(s.saved) >= saveInterval {
			s.save()
		}
		if more {
			continue
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return sent, ctx.Err()
		}
	}
}

// round sends a batch of each stream and reports whether there was any: a long
// queue of one does not keep the others waiting.
func (s *shipper) round(ctx context.Context, conn *syslog.Sender) (bool, error) {
	any := false
	for i := range s.streams {
		st := &s.streams[i]
		before := st.reader.Place()
		lines, err := st.reader.Next()
		if err != nil {
			s.log.Error("log not read", "log", st.name, "err", err)
		}
		if st.reader.Lost() {
			s.log.Warn("lines were overwritten before the collector got them", "log", st.name)
		}
		if len(lines) == 0 {
			continue
		}
		if err := conn.Send(ctx, st.frames(lines)); err != nil {
			st.reader.Rewind(before)
			return false, err
		}
		any = true
	}
	return any, nil
}

func (st *stream) frames(lines []byte) []byte {
	var frames []byte
	for line := range bytes.Lines(lines) {
		if line = bytes.TrimSuffix(line, []byte("\n")); len(line) > 0 {
			frames = st.frame(frames, line)
		}
	}
	return frames
}

// save keeps how far the collector is.
func (s *shipper) save() {
	s.saved = time.Now()
	var errs []error
	for i := range s.streams {
		errs = append(errs, s.streams[i].reader.Save())
	}
	if err := errors.Join(errs...); err != nil {
		s.log.Error("after a restart the collector will get lines again", "err", err)
	}
}

func (s *shipper) close() {
	for i := range s.streams {
		s.streams[i].reader.Close()
	}
}
