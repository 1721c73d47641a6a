package main

import (
	"io/fs"
	"testing"
	"time"
)

func TestDaemonsThatWaitAreLeftAlone(t *testing.T) {
	for _, c := range []struct {
		missing error
		up      time.Duration
		want    bool
	}{
		{fs.ErrNotExist, 5 * time.Second, true},
		{fs.ErrNotExist, time.Minute, false}, // they run without by now
		{nil, 5 * time.Second, false},        // they have read what was damaged
	} {
		if got := await(c.missing, c.up); got != c.want {
			t.Errorf("%v after %v: %v, want %v", c.missing, c.up, got, c.want)
		}
	}
}
