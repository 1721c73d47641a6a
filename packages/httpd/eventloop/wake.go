package eventloop

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// waker makes a loop's epoll return from another goroutine.
type waker struct{ fd int }

func newWaker() (waker, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return waker{}, fmt.Errorf("eventfd: %w", err)
	}
	return waker{fd}, nil
}

// signal fails only when the counter is full, and then the loop is awake.
func (w waker) signal() { _, _ = unix.Write(w.fd, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

func (w waker) drain() {
	var b [8]byte
	_, _ = unix.Read(w.fd, b[:])
}
