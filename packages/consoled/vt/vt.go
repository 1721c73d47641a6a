// Package vt takes a virtual terminal of Linux for one program's own picture.
//
// Promise: the picture is alone on the screen. The kernel's messages go to
// terminal Log, which is not shown; the keyboard is off on both, and with it
// Ctrl-Alt-Del and the switching of terminals, and the magic SysRq key is off
// everywhere. What is drawn replaces cells in place, so nothing flickers, and on
// a screen with room for it the font is doubled.
//
// Files: /dev/tty1 and /dev/tty2, /proc/sys/kernel/sysrq. Opening needs root,
// keeping the terminal in front CAP_SYS_TTY_CONFIG.
//
// Failure: a machine without a screen has terminals all the same. What the
// kernel refuses besides opening is no error: a small font is better than none.
package vt

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The terminals of the kernel's messages and of the picture.
const (
	Log     = 1
	Picture = 2
)

// ioctl numbers of linux/vt.h, linux/kd.h and linux/tiocl.h.
const (
	vtGetState     = 0x5603
	vtActivate     = 0x5606
	vtLockSwitch   = 0x560b
	vtUnlockSwitch = 0x560c
	kdSetKeyboard  = 0x4b45
	keyboardOff    = 4
	tioclinux      = 0x541c
	redirectLog    = 11 // subcode of tioclinux
)

// Terminal is the one with the picture.
type Terminal struct {
	f    *os.File
	size unix.Winsize
}

// Open takes the terminals. dev is /dev and sysctl /proc/sys.
func Open(dev, sysctl string) (*Terminal, error) {
	log, err := os.OpenFile(fmt.Sprintf("%s/tty%d", dev, Log), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	defer log.Close()
	f, err := os.OpenFile(fmt.Sprintf("%s/tty%d", dev, Picture), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	redirect := [2]byte{redirectLog, Log}
	call(log, tioclinux, uintptr(unsafe.Pointer(&redirect)))
	for _, t := range []*os.File{log, f} {
		call(t, kdSetKeyboard, keyboardOff)
	}
	t := &Terminal{f: f}
	t.Show()
	t.measure()
	if t.size.Col >= 2*columns && t.size.Row >= 2*rows {
		doubleFont(f)
		t.measure()
	}
	// Not fatal: the key needs a keyboard that is at the machine.
	_ = os.WriteFile(sysctl+"/kernel/sysrq", []byte("0"), 0o644)
	return t, nil
}

// call is an ioctl whose failure changes nothing.
func call(f *os.File, request, arg uintptr) (ok bool) {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, arg)
	return errno == 0
}

// Show brings the picture to the front if it is not, and locks it there.
func (t *Terminal) Show() {
	var state struct{ active, signal, state uint16 }
	if call(t.f, vtGetState, uintptr(unsafe.Pointer(&state))) && state.active == Picture {
		return
	}
	call(t.f, vtUnlockSwitch, 0)
	call(t.f, vtActivate, Picture)
	call(t.f, vtLockSwitch, 0)
}

func (t *Terminal) measure() {
	if size, err := unix.IoctlGetWinsize(int(t.f.Fd()), unix.TIOCGWINSZ); err == nil {
		t.size = *size
	}
}

// Size returns the terminal's rows and columns; a machine that does not know has
// the smallest.
func (t *Terminal) Size() (r, c int) {
	return max(int(t.size.Row), rows), max(int(t.size.Col), columns)
}

// The size that every terminal has.
const rows, columns = 25, 80

// Write sends bytes to the terminal.
func (t *Terminal) Write(b []byte) (int, error) { return t.f.Write(b) }

// Close gives the file back; the picture stays.
func (t *Terminal) Close() error { return t.f.Close() }
