package daemon

import (
	"bytes"
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// sink keeps what it is given.
type sink struct {
	net.Conn
	got []byte
}

func (s *sink) Write(p []byte) (int, error) {
	s.got = append(s.got, p...)
	return len(p), nil
}

// A client gets what it asked for, no faster; asking for next to nothing is of no
// use.
func TestPace(t *testing.T) {
	for _, tt := range []struct {
		kib  int
		took time.Duration // for 160 KiB, of which some come at once
	}{{0, 0}, {1, 9750 * time.Millisecond}, {16, 9750 * time.Millisecond}, {160, 900 * time.Millisecond}, {1600, 0}} {
		synctest.Test(t, func(t *testing.T) {
			to, moved := new(sink), 0
			p := &paced{Conn: to, ctx: t.Context(), alive: func() { moved++ }}
			p.slow(tt.kib)
			start := time.Now()
			data := bytes.Repeat([]byte("0123456789abcdef"), 5<<10)
			parts := net.Buffers{data, data}
			if n, err := p.WriteVector(&parts); n != 160<<10 || err != nil {
				t.Errorf("%d KiB/s: wrote %d, %v", tt.kib, n, err)
			}
			if !bytes.Equal(to.got, append(bytes.Clone(data), data...)) {
				t.Errorf("%d KiB/s: other bytes arrived", tt.kib)
			}
			if took := time.Since(start).Round(time.Millisecond); took != tt.took {
				t.Errorf("%d KiB/s: took %v, want %v", tt.kib, took, tt.took)
			}
			if tt.kib > 0 && moved == 0 {
				t.Errorf("%d KiB/s: the deadline was not moved", tt.kib)
			}
		})
	}
}

func TestPaceEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := &paced{Conn: new(sink), ctx: ctx, alive: func() {}}
	p.slow(16)
	if _, err := p.Write(make([]byte, 1<<20)); err == nil {
		t.Error("goes on after the end")
	}
}
