//go:build !faults

package mirror

import "time"

// Faults returns the Job.Fault of a node. Only images built with the tag "faults"
// let a test order faults.
func Faults(_ string, _ func(phase string)) func(step string) error { return nil }

// Grace is the grace period of a node, which only a test may order to be another.
func Grace(_ string, usual time.Duration) time.Duration { return usual }
