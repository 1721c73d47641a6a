package sender

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/rsync/checksum"
	"micromirror/packages/rsync/flist"
	"micromirror/packages/rsync/wire"
)

// Session is one client's transfer, from the list to the farewell.
type Session struct {
	Tree   *Tree
	Root   *os.File // the directory that Tree was scanned from
	R      *wire.Reader
	W      *wire.Writer
	Format flist.Format
	Sums   checksum.Sums
	// Alive is called before data is written that may block; it moves the
	// connection's deadline.
	Alive   func()
	Buffers *Buffers
	Account *Account // what the client may take memory from; nil for no limit

	Public       bool // send only what everybody may read
	DryRun       bool // -n: requests carry no sums and get no data
	Inplace      bool // --inplace
	Append       int  // --append: 1, or 2 to verify what is there
	IgnoreErrors bool // --ignore-errors: do not tell of an incomplete list

	// Older opens the version of a file that the list tells of, when another one
	// has taken its place. If it can, or if there is no such version any more, the
	// client never gets content that does not belong to its list. Nil means that
	// it gets what is there now.
	Older func(path string, size, sec int64, nsec uint32) (fd int, err error)
}

// Stats is what a transfer came to.
type Stats struct {
	Entries  int   // in the list
	Files    int   // sent
	Bytes    int64 // of the files sent
	Literal  int64 // of those, as data
	Failed   int   // files that could not be sent
	ListTime time.Duration
}

// Buffers lends the memory that files are read into; one serves all sessions.
type Buffers struct{ pool sync.Pool }

func (b *Buffers) get(size int) []byte {
	if size <= windowSize {
		if p, ok := b.pool.Get().(*[windowSize]byte); ok {
			return p[:]
		}
		return new([windowSize]byte)[:]
	}
	return make([]byte, size)
}

func (b *Buffers) put(p []byte) {
	if len(p) == windowSize {
		b.pool.Put((*[windowSize]byte)(p))
	}
}

// Errors of a client that does not keep to the protocol.
var (
	ErrProtocol = errors.New("client breaks the protocol")
	ErrIndex    = errors.New("client requests what is not in the list")
)

// transfer is a session under way.
type transfer struct {
	*Session
	module  string
	list    *selection
	stats   Stats
	ioError int32
	phase   int
}

// Run sends the list that the request selects, then the files that the client
// asks for.
func (s *Session) Run(ctx context.Context, req *Request) (Stats, error) {
	t := &transfer{Session: s, module: req.Module}
	start := time.Now()
	list, err := choose(ctx, s.Tree, req, s.Account)
	if err != nil {
		return t.stats, fmt.Errorf("select files: %w", err)
	}
	t.list, t.stats.Entries = list, list.count
	if err := t.sendList(ctx); err != nil {
		return t.stats, fmt.Errorf("send file list: %w", err)
	}
	t.stats.ListTime = time.Since(start)
	if list.count == 0 {
		return t.stats, s.W.Flush()
	}
	if err := t.serve(ctx); err != nil {
		return t.stats, fmt.Errorf("send files: %w", err)
	}
	return t.stats, t.finish()
}

// sendList sends notices, entries and the end of the list.
func (t *transfer) sendList(ctx context.Context) error {
	for _, n := range t.list.notices {
		t.W.Message(n.tag, []byte(n.text))
	}
	t.ioError = t.list.ioError
	if t.IgnoreErrors {
		t.ioError = 0
	}
	enc := flist.NewEncoder(t.W, t.Format)
	n := 0
	names := newNamer(t.Tree, view{base: noNode})
	names.hasty = true // the encoder looks back to the entry before, no further
	err := t.list.eachBy(names, func(names *namer, node uint32, v view) error {
		if n++; n&1023 == 0 {
			t.Alive()
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		return t.sendEntry(enc, names.name(node), node, v)
	})
	if err != nil {
		return err
	}
	if err := enc.End(t.ioError); err != nil {
		return err
	}
	if t.ioError != 0 && t.Format.Protocol >= 30 && !t.Format.SafeList {
		return t.W.MessageInt32(wire.IOError, t.ioError)
	}
	return nil
}

func (t *transfer) sendEntry(enc *flist.Encoder, name string, node uint32, v view) error {
	f := t.list.file(node, name, t.Format.HardLinks)
	if t.Format.Checksum > 0 && f.IsRegular() {
		sum, err := t.fileSum(node)
		if err != nil {
			t.ioError |= wire.IOErrGeneral
		}
		f.Checksum = string(sum)
	}
	role := v.role
	if node != v.base {
		role = flist.Bare
		if t.list.recurse && (v.role == flist.Top || v.role == flist.Inner) {
			role = flist.Inner
		}
	}
	return enc.Entry(&f, role)
}

// fileSum sums up a file for -c.
func (t *transfer) fileSum(node uint32) ([]byte, error) {
	fd, size, err := openRegular(int(t.Root.Fd()), t.Tree.path(node), t.Public)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	buf := t.Buffers.get(windowSize)
	defer t.Buffers.put(buf)
	h := checksum.Negotiated(t.Sums.Name(), 0, false).New()
	w := window{fd: fd, size: size, buf: buf}
	for pos := int64(0); pos < size; pos += int64(w.n) {
		t.Alive()
		w.slide(pos)
		h.Write(w.from(pos))
	}
	return h.Sum(nil), nil
}

// finish sends what is to be said after the last file and reads the farewell.
func (t *transfer) finish() error {
	if t.ioError != t.list.ioError && t.Format.Protocol >= 30 {
		t.W.MessageInt32(wire.IOError, t.ioError)
	}
	t.W.Ndx(wire.NdxDone)
	t.sendStats()
	if err := t.W.Flush(); err != nil {
		return err
	}
	return t.farewell()
}

func (t *transfer) sendStats() {
	t.W.Varlong30(t.R.Total(), 3)
	t.W.Varlong30(t.W.Total(), 3)
	t.W.Varlong30(t.list.size(), 3)
	if t.Format.Protocol >= 29 {
		ms := max(t.stats.ListTime.Milliseconds(), 1)
		t.W.Varlong30(ms, 3)
		t.W.Varlong30(0, 3)
	}
}

// farewell reads the client's last "done", to which protocols since 31 want an
// answer and another one.
func (t *transfer) farewell() error {
	rounds := 1
	if t.Format.Protocol >= 31 {
		rounds = 2
	}
	for i := range rounds {
		ndx, err := t.nextIndex()
		if err != nil {
			return err
		}
		if ndx != wire.NdxDone {
			return fmt.Errorf("index %d after the end: %w", ndx, ErrProtocol)
		}
		if rounds == 2 && i == 0 {
			t.W.Ndx(wire.NdxDone)
			if err := t.W.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}
