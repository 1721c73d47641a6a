package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"micromirror/packages/rsync/flist"
	"micromirror/packages/rsync/wire"
)

// Request says what to fetch.
type Request struct {
	// Files are indexes of the list, regular files only, each at most once, in
	// the order in which they are to be fetched.
	Files []int

	// Stage is the directory below which files are written; Dest gives the path
	// of each in it. Directories above it are made. What lies at the path is
	// the beginning of the file from an interrupted run: it is continued. Dest
	// is called from two goroutines.
	Stage *os.Root
	Dest  func(i int) string

	// Basis opens an older version of a file or a similar one, which is read and
	// closed; nil means none. It is called when the file is asked for and
	// again, from another goroutine, when it arrives. Should the two differ, the
	// file is fetched twice. Basis itself may be nil.
	Basis func(i int) (*os.File, error)

	// Sparse leaves holes where blocks of a file are zero.
	Sparse bool

	// Done, if not nil, is called for each file as soon as it is complete or has
	// failed for good, from the goroutine that called Transfer.
	Done func(i int, err error)

	// Progress, if not nil, is called about five times per second.
	Progress func(Progress)
}

// Result is what became of a transfer.
type Result struct {
	Received int           // files that are complete
	Failed   map[int]error // the others: errors.Is ErrVanished, ErrChanged, ErrChecksum, or of the file system
	IOError  int32         // wire.IOErr… bits of the sender, of the list's too
	Messages []string      // what the server reported, errors and warnings
	Repeated int           // files fetched a second time because of their checksum
	Literal  int64         // bytes that came over the wire as data
	Matched  int64         // bytes taken from basis files
	Read     int64         // bytes on the wire
	Written  int64
}

// Code is the exit code that rsync would end with: 0, 23 (some files could not
// be transferred) or 24 (some vanished).
func (r *Result) Code() int {
	code := 0
	for _, err := range r.Failed {
		if !errors.Is(err, ErrVanished) {
			return 23
		}
		code = 24
	}
	switch {
	case r.IOError&wire.IOErrGeneral != 0:
		return 23
	case r.IOError&wire.IOErrVanished != 0:
		return 24
	}
	return code
}

// transfer is the state that the goroutine that requests and the one that
// receives share.
type transfer struct {
	c    *Conn
	req  *Request
	list *flist.List
	redo chan []int // from the receiver to the generator, once

	start   sync.Once
	started chan struct{} // closed as soon as there is something to be answered

	mu      sync.Mutex
	pending []uint64 // bit set of files asked for and not yet answered

	result Result
	meter  meter
}

// Transfer fetches files and ends the session. Failures of single files are in
// the result; an error means that the run ended early, and the result says how
// far it came. With no files it is how to part from a server without leaving it
// an error to log.
func (c *Conn) Transfer(ctx context.Context, req Request) (Result, error) {
	if c.list == nil {
		return Result{}, errors.New("transfer files: the list has not been fetched")
	}
	stop := context.AfterFunc(ctx, func() { c.cancel(context.Cause(ctx)) })
	defer stop()
	defer c.Close()
	t := &transfer{c: c, req: &req, list: c.list, redo: make(chan []int, 1), started: make(chan struct{})}
	t.result.Failed = map[int]error{}
	t.pending = make([]uint64, (c.list.Len()+63)/64)
	if err := t.check(); err != nil {
		return t.result, fmt.Errorf("transfer files: %w", err)
	}
	c.messages.noSend = t.noSend
	var err error
	if c.list.Len() > 0 { // else the server has left after the list
		err = t.run(ctx)
	}
	t.result.IOError = c.messages.ioError | c.list.IOError
	t.result.Messages = c.messages.texts
	t.result.Read, t.result.Written = c.in.Total(), c.out.Total()
	if err != nil {
		return t.result, fmt.Errorf("transfer from %s::%s: %w", c.cfg.Addr, c.cfg.Module, c.explain(err))
	}
	return t.result, nil
}

// check refuses requests that the list does not cover.
func (t *transfer) check() error {
	for _, i := range t.req.Files {
		if i < 0 || i >= t.list.Len() || !t.list.Active(i) {
			return fmt.Errorf("file index %d is not in the list", i)
		}
		if t.list.Mode(i)&flist.ModeType != flist.ModeRegular {
			return fmt.Errorf("%q is not a regular file", t.list.Name(i))
		}
		if t.pending[i/64]&(1<<(i%64)) != 0 {
			return fmt.Errorf("%q is asked for twice", t.list.Name(i))
		}
		t.pending[i/64] |= 1 << (i % 64)
		t.meter.total(t.list.Size(i))
	}
	clear(t.pending)
	return nil
}

// run lets requests and answers flow until the session is over. An error on
// either side closes the connection, which ends the other.
func (t *transfer) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := func(err error) {
		cancel(err)
		t.c.cancel(err)
	}
	stopMeter := t.meter.start(t.req.Progress)
	defer stopMeter()
	requested := make(chan error, 1)
	go func() {
		err := t.generate(ctx)
		if err != nil {
			stop(err)
		}
		t.begin()
		requested <- err
	}()
	<-t.started
	err := t.receive()
	if err != nil {
		stop(err)
	} else {
		t.failPending()
	}
	if reqErr := <-requested; err == nil {
		err = reqErr
	}
	if err == nil {
		return t.goodbye()
	}
	return cmp.Or(t.c.cause(), err)
}

// ask notes that file i has been asked for, answered that it has arrived; the
// latter tells whether it was asked for at all.
func (t *transfer) ask(i int) {
	t.mu.Lock()
	t.pending[i/64] |= 1 << (i % 64)
	t.mu.Unlock()
	t.begin()
}

func (t *transfer) begin() { t.start.Do(func() { close(t.started) }) }

func (t *transfer) answered(i int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	bit := uint64(1) << (i % 64)
	asked := t.pending[i/64]&bit != 0
	t.pending[i/64] &^= bit
	return asked
}

// failPending gives up on files that the sender passed over in silence, as it
// does before protocol 30.
func (t *transfer) failPending() {
	for word, bits := range t.pending {
		for b := range 64 {
			if bits&(1<<b) != 0 {
				i := word*64 + b
				t.finish(i, sendError(t.list.Name(i), t.c.messages.about(t.list.Name(i))))
			}
		}
	}
}

// finish records what became of file i.
func (t *transfer) finish(i int, err error) {
	if err != nil {
		t.result.Failed[i] = err
	} else {
		t.result.Received++
	}
	t.meter.file()
	if t.req.Done != nil {
		t.req.Done(i, err)
	}
}

// noSend is told that the sender will not send a file.
func (t *transfer) noSend(ndx int32, reason string) error {
	if ndx < 0 || int(ndx) >= t.list.Len() {
		return fmt.Errorf("file index %d out of range: %w", ndx, ErrProtocol)
	}
	i := t.list.FromWire(t.c.Protocol, ndx)
	if !t.answered(i) {
		return fmt.Errorf("file %d was not asked for: %w", i, ErrProtocol)
	}
	t.finish(i, sendError(t.list.Name(i), reason))
	return nil
}
