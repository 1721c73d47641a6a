package logbook

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/durable"
	"micromirror/packages/syslog"
)

// Record is one record of the kernel's log.
type Record struct {
	Facility syslog.Facility
	Severity syslog.Severity
	Sequence uint64
	SinceUp  time.Duration
	Text     string
}

var errRecord = errors.New("not a record of the kernel's log")

// ParseRecord reads a record as /dev/kmsg gives it:
//
//	priority,sequence,microseconds,flags[,…];text\n KEY=value\n …
func ParseRecord(data []byte) (Record, error) {
	head, text, ok := bytes.Cut(data, []byte(";"))
	fields := strings.Split(string(head), ",")
	if !ok || len(fields) < 3 {
		return Record{}, errRecord
	}
	priority, err1 := strconv.ParseUint(fields[0], 10, 16)
	sequence, err2 := strconv.ParseUint(fields[1], 10, 64)
	micros, err3 := strconv.ParseUint(fields[2], 10, 50)
	if err1 != nil || err2 != nil || err3 != nil {
		return Record{}, errRecord
	}
	text, _, _ = bytes.Cut(text, []byte("\n"))
	return Record{
		Facility: syslog.Facility(min(priority/8, 23)), Severity: syslog.Severity(priority % 8), Sequence: sequence,
		SinceUp: time.Duration(micros) * time.Microsecond, Text: unescape(string(text)),
	}, nil
}

// unescape undoes the kernel's \xNN.
func unescape(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if strings.HasPrefix(s[i:], `\x`) && i+4 <= len(s) {
			if c, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b = append(b, byte(c))
				i += 3
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// kernel copies the kernel's log until it is closed.
func (b *book) kernel() {
	seen, known := b.kernelPlace()
	gate := newGate("kernel")
	buf := make([]byte, 16<<10)
	for {
		n, err := b.config.Kernel.Read(buf)
		switch {
		case errors.Is(err, syscall.EPIPE): // records were overwritten unread
			b.write(gate.pass(gate.note("the kernel's log overflowed, records are lost"))...)
			continue
		case errors.Is(err, syscall.EINVAL): // longer than the buffer
			continue
		case err != nil:
			if !errors.Is(err, os.ErrClosed) {
				b.config.Log.Error("the kernel's log is not kept any more", "err", err)
			}
			return
		}
		r, err := ParseRecord(buf[:n])
		if err != nil || known && r.Sequence <= seen {
			continue
		}
		seen, known = r.Sequence, true
		b.write(gate.pass(syslog.Message{
			Facility: r.Facility, Severity: r.Severity, Time: upAt().Add(r.SinceUp), App: "kernel", ID: "kernel", Text: r.Text,
		})...)
		b.keepKernelPlace(seen)
	}
}

// upAt is when the kernel's clock was zero, as far as the present time is right.
func upAt() time.Time {
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &up); err != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(up.Nano()))
}

// kernelPlace is how far an earlier process in this boot has come.
func (b *book) kernelPlace() (sequence uint64, known bool) {
	data, err := os.ReadFile(b.runFile("kernel"))
	if err != nil {
		return 0, false // the first in this boot
	}
	sequence, err = strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	return sequence, err == nil
}

func (b *book) keepKernelPlace(sequence uint64) {
	// Not kept, it costs repeated lines after a restart of this daemon.
	_ = durable.WriteFile(b.runFile("kernel"), strconv.AppendUint(nil, sequence, 10), 0o600)
}
