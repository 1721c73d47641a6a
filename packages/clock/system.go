package clock

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is the System that the kernel offers. Changing it needs CAP_SYS_TIME.
type Machine struct {
	rtc *os.File // nil if there is no battery clock
}

// Open opens the battery clock, which only root can. Without one the clock is
// still kept, and the error says what is missing.
func Open(rtc string) (*Machine, error) {
	f, err := os.OpenFile(rtc, os.O_WRONLY, 0)
	if err != nil {
		return &Machine{}, fmt.Errorf("battery clock: %w", err)
	}
	return &Machine{rtc: f}, nil
}

var _ io.Closer = (*Machine)(nil)

// Close closes the battery clock.
func (m *Machine) Close() error {
	if m.rtc == nil {
		return nil
	}
	return m.rtc.Close()
}

// Now implements System. It leaves out the monotonic reading, which does not
// follow steps.
func (m *Machine) Now() time.Time { return time.Now().Round(0) }

// Step implements System.
func (m *Machine) Step(to time.Time) error {
	ts, err := unix.TimeToTimespec(to)
	if err != nil {
		return err
	}
	return unix.ClockSettime(unix.CLOCK_REALTIME, &ts)
}

// From adjtimex(2); x/sys lacks the modes.
const (
	adjOffset    = 0x0001
	adjFrequency = 0x0002
	adjStatus    = 0x0010
	adjTimeConst = 0x0020
	adjNano      = 0x2000
	staPLL       = 0x0001
)

// ppm is adjtimex's unit of frequency.
const ppm = 1 << 16

// Slew implements System by the kernel's phase-locked loop.
func (m *Machine) Slew(offset, interval time.Duration) error {
	_, err := unix.Adjtimex(&unix.Timex{
		Modes:  adjOffset | adjStatus | adjTimeConst | adjNano,
		Offset: offset.Nanoseconds(),
		Status: staPLL,
		// The loop's time constant is the binary logarithm of the interval.
		Constant: int64(bits.Len64(uint64(interval/time.Second)) - 1),
	})
	return err
}

// Frequency implements System.
func (m *Machine) Frequency() (float64, error) {
	var tx unix.Timex
	_, err := unix.Adjtimex(&tx)
	return float64(tx.Freq) / ppm, err
}

// SetFrequency implements System.
func (m *Machine) SetFrequency(f float64) error {
	_, err := unix.Adjtimex(&unix.Timex{Modes: adjFrequency, Freq: int64(f * ppm)})
	return err
}

// SetHardware implements System; the battery clock runs in UTC.
func (m *Machine) SetHardware(t time.Time) error {
	if m.rtc == nil {
		return errors.New("there is none")
	}
	t = t.UTC()
	return unix.IoctlSetRTCTime(int(m.rtc.Fd()), &unix.RTCTime{
		Sec: int32(t.Second()), Min: int32(t.Minute()), Hour: int32(t.Hour()),
		Mday: int32(t.Day()), Mon: int32(t.Month()) - 1, Year: int32(t.Year()) - 1900,
	})
}
