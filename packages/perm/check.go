package perm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Outcome is what Check found.
type Outcome int

// The outcomes. Bad means that only Remake helps.
const (
	Bad Outcome = iota
	Clean
	Repaired
)

func (o Outcome) String() string {
	switch o {
	case Clean:
		return "clean"
	case Repaired:
		return "repaired"
	default:
		return "bad"
	}
}

// How long the two passes may take. A full pass over an 8 TiB hard disk takes
// less than half an hour; one that takes longer than its limit hangs, and
// fetching the mirror again is the lesser evil.
const (
	preenLimit = 30 * time.Minute
	forceLimit = 2 * time.Hour
	pingEvery  = 2 * time.Second
	killedIn   = 30 * time.Second // a killed process lets go of the disk
	outputTail = 2000
)

// forced is e2fsck's mode that looks at everything and repairs all it can.
const forced = "-fy"

// Exit codes of e2fsck(8); a combination of bits.
const (
	exitCorrected   = 1
	exitReboot      = 2 // the file system was mounted: cannot be, here
	exitUncorrected = 4
	exitFailed      = 8 | 16 | 32 | 128 // operational error, wrong usage, canceled, no library
)

// ErrBeyondRepair comes with Bad when e2fsck did its work to the end and said
// that errors remain. Any other error with Bad (e2fsck did not start, was killed,
// could not read the disk) leaves open what the file system is like.
var ErrBeyondRepair = errors.New("errors remain after a full repair")

// errFailed is wrapped when e2fsck could not do its work, as when it cannot read the
// superblock.
var errFailed = errors.New("could not check")

// Check replays the journal of the ext4 file system on dev and repairs it: what
// is safe first (e2fsck -p), everything then (e2fsck -fy). e2fsck is the path of
// that program, ping is called every two seconds. An error comes with Bad and
// says why; it holds the end of e2fsck's output.
//
// The full pass gets a second chance: when the superblock is lost and its copy
// says that the journal needs a replay, as all copies do after growing, e2fsck
// replays, writes the superblock, and stops; the next one does the rest. When the
// superblock cannot even be read, e2fsck does not look for a copy by itself: the
// first is named to it, and rewrites what could not be read.
func Check(ctx context.Context, dev, e2fsck string, ping func()) (Outcome, error) {
	outcome, err := pass(ctx, preenLimit, ping, e2fsck, "-p", dev)
	if outcome != Bad || ctx.Err() != nil {
		return outcome, err
	}
	forceErr := force(ctx, dev, e2fsck, ping)
	if forceErr == nil {
		return Repaired, nil
	}
	if ctx.Err() == nil && errors.Is(forceErr, errFailed) {
		copyErr := force(ctx, dev, e2fsck, ping, "-b", strconv.Itoa(blocksPerGroup), "-B", strconv.Itoa(BlockSize))
		if copyErr == nil {
			return Repaired, nil
		}
		// Only text: what it says of the file system is not to be believed like the rest.
		forceErr = fmt.Errorf("%w; by the copy of the superblock: %v", forceErr, copyErr)
	}
	return Bad, fmt.Errorf("check %s: %w", dev, errors.Join(err, forceErr))
}

// force repairs all it can, and has a second chance.
func force(ctx context.Context, dev, e2fsck string, ping func(), more ...string) error {
	var err error
	for range 2 {
		var outcome Outcome
		if outcome, err = pass(ctx, forceLimit, ping, e2fsck, forced, dev, more...); outcome != Bad {
			return nil
		}
		if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			break
		}
	}
	return err
}

// pass runs e2fsck once. It returns at the limit even if the process cannot be
// killed because the disk does not answer.
func pass(ctx context.Context, limit time.Duration, ping func(), e2fsck, mode, dev string, more ...string) (Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var out tail
	// -E no_optimize_extents: time is spent on repairs only.
	cmd := exec.CommandContext(ctx, e2fsck, append(append([]string{mode, "-E", "no_optimize_extents"}, more...), dev)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "E2FSCK_CONFIG="+os.DevNull)
	if err := cmd.Start(); err != nil {
		return Bad, fmt.Errorf("start e2fsck: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			ping()
		case err := <-done:
			ping()
			return judge(mode, cmd.ProcessState.ExitCode(), err, string(out))
		case <-ctx.Done():
			waitKilled(done, tick.C, ping)
			return Bad, fmt.Errorf("e2fsck %s: %w", mode, context.Cause(ctx))
		}
	}
}

// waitKilled gives a killed e2fsck the time to let go of the disk, so that the
// next pass can have it.
func waitKilled(done <-chan error, tick <-chan time.Time, ping func()) {
	limit := time.After(killedIn)
	for {
		select {
		case <-done:
			return
		case <-limit:
			return
		case <-tick:
			ping()
		}
	}
}

// judge turns e2fsck's exit code into an outcome.
func judge(mode string, code int, err error, out string) (Outcome, error) {
	switch {
	case code == 0:
		return Clean, nil
	case code > 0 && code&^(exitCorrected|exitReboot) == 0:
		return Repaired, nil
	}
	if mode == forced && code > 0 && code&exitUncorrected != 0 && code&exitFailed == 0 {
		err = fmt.Errorf("%w (%w)", err, ErrBeyondRepair)
	}
	if code > 0 && code&exitFailed != 0 {
		err = fmt.Errorf("%w (%w)", err, errFailed)
	}
	out = strings.TrimSpace(out)
	return Bad, fmt.Errorf("e2fsck %s: %w: %s", mode, err, out[max(0, len(out)-outputTail):])
}

// tail keeps the end of what is written to it: about a file system that is
// garbage e2fsck has more to say than fits into memory.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p[max(0, len(p)-outputTail):]...)
	*t = append((*t)[:0], (*t)[max(0, len(*t)-outputTail):]...)
	return len(p), nil
}
