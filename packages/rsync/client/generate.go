package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"micromirror/packages/rsync/delta"
	"micromirror/packages/rsync/wire"
)

// generate sends the requests, phase by phase. It never waits for answers but
// between the phases, so that the sender always has something to do.
func (t *transfer) generate(ctx context.Context) error {
	for n, i := range t.req.Files {
		if n%64 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := t.request(i, true); err != nil {
			return err
		}
	}
	t.begin()
	if err := t.done(1); err != nil {
		return err
	}
	var again []int
	select {
	case again = <-t.redo:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for _, i := range again {
		if err := t.request(i, false); err != nil {
			return err
		}
	}
	return t.done(t.lastDones())
}

// lastDones is how many phases end together: repeats; since 29 delayed
// updates; since 31 deletions.
func (t *transfer) lastDones() int {
	switch p := t.c.Protocol; {
	case p >= 31:
		return 3
	case p >= 29:
		return 2
	}
	return 1
}

func (t *transfer) done(times int) error {
	t.c.outMu.Lock()
	defer t.c.outMu.Unlock()
	for range times {
		t.c.out.Ndx(wire.NdxDone)
	}
	return t.c.out.Flush()
}

// request asks for one file, with the sums of its basis if there is one.
func (t *transfer) request(i int, useBasis bool) error {
	var basis *os.File
	if useBasis {
		basis = t.openBasis(i)
	}
	var head delta.Head
	if basis != nil {
		defer basis.Close()
		if info, err := basis.Stat(); err == nil && info.Mode().IsRegular() {
			head, _ = delta.Plan(info.Size(), t.c.sums.Size())
		}
	}
	t.ask(i)
	t.c.outMu.Lock()
	defer t.c.outMu.Unlock()
	out := t.c.out
	out.Ndx(t.list.Wire(t.c.Protocol, i))
	if t.c.Protocol >= 29 {
		flags := uint16(wire.ItemTransfer)
		if basis == nil {
			flags |= wire.ItemIsNew
		}
		out.Uint16(flags)
	}
	if basis == nil {
		head.Write(out)
		return out.Err()
	}
	return delta.Sign(out, basis, head, t.c.sums)
}

// openBasis opens what is left of an interrupted run, else the caller's basis.
func (t *transfer) openBasis(i int) *os.File {
	if f, err := t.req.Stage.Open(t.req.Dest(i)); err == nil {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			return f
		}
		f.Close()
	}
	return t.callerBasis(i)
}

func (t *transfer) callerBasis(i int) *os.File {
	if t.req.Basis == nil {
		return nil
	}
	f, err := t.req.Basis(i)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			t.c.log.Debug("no basis", "file", t.list.Name(i), "err", err)
		}
		return nil
	}
	return f
}

// sendError makes an error of the sender's words about a file.
func sendError(name, reason string) error {
	if strings.HasPrefix(reason, vanishedPrefix) {
		return fmt.Errorf("%q: %w", name, ErrVanished)
	}
	return fmt.Errorf("%q could not be sent: %s", name, reason)
}

// farewell is how long a server may take to close its side.
const farewell = 5 * time.Second

// goodbye ends the session so that the server need not report a broken
// connection: the last index has been read, and it reads ours before it exits.
func (t *transfer) goodbye() error {
	if err := t.done(1); err != nil {
		return err
	}
	nc := t.c.conn.Conn
	if half, ok := nc.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
		nc.SetReadDeadline(time.Now().Add(min(farewell, t.c.cfg.Timeout)))
		io.CopyN(io.Discard, nc, bufferSize)
	}
	return nil
}
