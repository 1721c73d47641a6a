package supervise

import (
	"errors"
	"fmt"
	"time"
)

// DiskLimit is how long a disk is waited for. One that hangs must not keep the
// node from the reboot that may cure it.
const DiskLimit = 10 * time.Second

// ErrHung is wrapped when a disk did not answer in time.
var ErrHung = errors.New("no answer from the disk")

// Bounded runs f, and gives up waiting for it after a while; f itself goes on.
func Bounded(limit time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		return fmt.Errorf("%w within %v", ErrHung, limit)
	}
}
