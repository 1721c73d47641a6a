package client

import (
	"sync/atomic"
	"time"
)

// Progress is how far a transfer has come.
type Progress struct {
	Files, FilesTotal int64
	Bytes, BytesTotal int64
	BytesPerSecond    float64       // over the last seconds
	ETA               time.Duration // zero if it cannot be told
}

// meterInterval is the time between two reports.
const meterInterval = 200 * time.Millisecond

// meter counts, and reports from a goroutine of its own.
type meter struct {
	files, bytesDone       atomic.Int64
	filesTotal, bytesTotal int64
	rate                   float64
}

func (m *meter) total(size int64) { m.filesTotal++; m.bytesTotal += size }

func (m *meter) file() { m.files.Add(1) }

func (m *meter) bytes(n int) { m.bytesDone.Add(int64(n)) }

// start reports until the function that it gives back is called, and then once
// more.
func (m *meter) start(report func(Progress)) (stop func()) {
	if report == nil {
		return func() {}
	}
	done, finished := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(finished)
		ticker := time.NewTicker(meterInterval)
		defer ticker.Stop()
		for last := int64(0); ; {
			select {
			case <-done:
				report(m.progress())
				return
			case <-ticker.C:
				now := m.bytesDone.Load()
				m.smooth(float64(now-last) / meterInterval.Seconds())
				last = now
				report(m.progress())
			}
		}
	}()
	return func() {
		close(done)
		<-finished
	}
}

// smooth lets the rate follow the newest value within a few seconds.
func (m *meter) smooth(rate float64) {
	if m.rate == 0 {
		m.rate = rate
	}
	m.rate += (rate - m.rate) / 10
}

func (m *meter) progress() Progress {
	p := Progress{
		Files: m.files.Load(), FilesTotal: m.filesTotal,
		Bytes: m.bytesDone.Load(), BytesTotal: m.bytesTotal, BytesPerSecond: m.rate,
	}
	if m.rate > 0 {
		left := max(p.BytesTotal-p.Bytes, 0)
		p.ETA = time.Duration(float64(left) / m.rate * float64(time.Second))
	}
	return p
}
