// Package fetch downloads files of known content over plain HTTP, from servers
// and networks that need not be trusted.
//
// Promise: what File leaves under Dest has the wanted SHA-256 and is on stable
// storage, or there is nothing. What is at hand is not downloaded again: chunks
// (package chunk) in local sources, and what an earlier, interrupted call of File
// got. Every chunk is hashed before it counts, and the whole file at the end.
//
// Servers are tried in turn. One that sends wrong data is not asked again for this
// file. One that breaks off, or answers too slowly, is asked again as long as the
// round over all servers brought something new. One that ignores Range (it
// answers 200) is used only when no other has what is missing; then the file
// travels whole, and may break off a few times only, since it begins anew each
// time. No server can make a call read more than what is asked for, and none can
// keep it longer than the minimum rate allows. Redirects are followed, a few, to
// http and https; what a server says is told in errors, but not at any length.
//
// Files owned: Dest, and Dest with the ending .part while it is incomplete. The
// part is its own journal: it is as long as the file, and which of its chunks are
// there is found out by hashing them, so a power cut cannot leave a wrong record.
package fetch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"micromirror/packages/chunk"
)

// Config says how a Fetcher behaves. The zero value is usable.
type Config struct {
	Limit     *rate.Limiter // of bytes, for File; nil: none
	Minimum   int64         // bytes a second that a server must bring; default 1024; see brisk
	Patience  time.Duration // over which the minimum is judged; default 30 s
	UserAgent string
	// Dial connects, in place of net.Dialer's DialContext.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Fetcher downloads. It may be used by several goroutines.
type Fetcher struct {
	config Config
	client *http.Client
}

// New returns a Fetcher.
func New(c Config) *Fetcher {
	if c.Minimum == 0 {
		c.Minimum = 1024
	}
	if c.Patience == 0 {
		c.Patience = 30 * time.Second
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	return &Fetcher{c, &http.Client{
		Transport: &http.Transport{
			DialContext:            c.Dial,
			DisableCompression:     true, // ranges and hashes are about the file itself
			MaxResponseHeaderBytes: 64 << 10,
			MaxIdleConnsPerHost:    1,
			IdleConnTimeout:        c.Patience,
		},
		CheckRedirect: checkRedirect,
	}}
}

// checkRedirect bounds what a server may ask for. The client itself knows http and
// https only.
func checkRedirect(q *http.Request, via []*http.Request) error {
	const maxRedirects, maxURL = 3, 2000
	if len(via) > maxRedirects {
		return errors.New("more than three redirects")
	}
	if len(q.URL.String()) > maxURL {
		return fmt.Errorf("a redirect to a URL of more than %d bytes", maxURL)
	}
	return nil
}

// Job is a file to download.
type Job struct {
	Bases  []string // base URLs, tried in this order
	Path   string   // of the file below each base, escaped
	Size   int64
	SHA256 [sha256.Size]byte
	Index  *chunk.Index   // nil: the file travels in one piece
	Local  []chunk.Source // where chunks may be at hand
	Dest   string
	// Progress, if set, hears of bytes that are there and verified.
	Progress func(bytes int64)
}

// Stats says where a file came from, in bytes.
type Stats struct {
	Bytes   int64 // received, the useless ones included
	Reused  int64 // from local sources
	Resumed int64 // from an earlier call
}

// File downloads a file; one call at a time for each Dest. A local source that cannot be read is no error as long as
// a server has its chunks.
func (f *Fetcher) File(ctx context.Context, j Job) (Stats, error) {
	d := &download{f: f, job: j, problems: map[string]error{}, rangeless: map[string]bool{}, wholes: map[string]int{}}
	if err := d.run(ctx); err != nil {
		return d.stats, fmt.Errorf("fetch %s: %w", j.Path, err)
	}
	return d.stats, nil
}

// brisk times the minimum is what a server must bring while there is another that
// may do better: a slow one would hold up everything, and never fail.
const brisk = 64

// download is a call of File.
type download struct {
	f         *Fetcher
	job       Job
	part      *part
	stats     Stats
	problems  map[string]error // the last of each base
	rangeless map[string]bool  // bases that ignore Range
	wholes    map[string]int   // how often those were asked for the whole file
	minimum   int64            // of the base that is being asked
	hurried   bool             // one was given up that may do when there is no better
}

func (d *download) run(ctx context.Context) (err error) {
	index := d.job.Index
	if index == nil {
		if index, err = chunk.Whole(d.job.Size, d.job.SHA256); err != nil {
			return err
		}
	}
	if index.Size != d.job.Size || index.SHA256 != d.job.SHA256 {
		return fmt.Errorf("the chunk index is of another file: %d bytes, hash %x", index.Size, index.SHA256)
	}
	if ok, err := matches(ctx, d.job.Dest, d.job.Size, d.job.SHA256); err != nil || ok {
		d.stats.Resumed = d.job.Size
		if ok && d.job.Progress != nil {
			d.job.Progress(d.job.Size)
		}
		return err
	}
	if d.part, err = openPart(ctx, d.job.Dest+partSuffix, index); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.part.close()) }()
	d.stats.Resumed = d.part.had
	if d.part.progress = d.job.Progress; d.part.progress != nil {
		d.part.progress(d.part.had)
	}
	problem := d.copyLocal(ctx)
	if isLocal(problem) {
		return problem
	}
	if err := d.remote(ctx); err != nil {
		return errors.Join(err, problem)
	}
	return d.part.finish(ctx, d.job.Dest)
}

// copyLocal takes what is at hand. Its error is worth telling only if the
// download fails.
func (d *download) copyLocal(ctx context.Context) error {
	if len(d.part.missing()) == 0 || len(d.job.Local) == 0 {
		return nil
	}
	plan, err := d.part.index.Find(ctx, d.job.Local)
	for _, c := range plan.Copies {
		if d.part.have[c.Chunk] {
			continue
		}
		if err := d.part.copyFrom(d.job.Local[c.Source], c); isLocal(err) {
			return err
		} else if err == nil { // else it changed under our hands, and has to travel
			d.stats.Reused += int64(d.part.index.Chunks[c.Chunk].Size)
		}
	}
	return errors.Join(err, d.part.sync())
}

// remote asks the servers in turn until nothing is missing.
func (d *download) remote(ctx context.Context) error {
	for missing := len(d.part.missing()); missing > 0; {
		d.round(ctx, d.ranged)
		if len(d.part.missing()) == missing && d.hurried {
			d.hurried = false
			d.round(ctx, d.ranged)
		}
		if len(d.part.missing()) == missing {
			d.round(ctx, d.whole)
		}
		left := len(d.part.missing())
		if left == missing {
			errs := []error{fmt.Errorf("%d of %d chunks are missing", left, len(d.part.have)), context.Cause(ctx)}
			for _, base := range d.job.Bases {
				errs = append(errs, d.problems[base])
			}
			return errors.Join(errs...)
		}
		missing = left
	}
	return nil
}

// round lets each base that still counts bring what it can.
func (d *download) round(ctx context.Context, from func(ctx context.Context, base string) error) {
	for _, base := range d.job.Bases {
		if errors.Is(d.problems[base], errWrongData) || len(d.part.missing()) == 0 || ctx.Err() != nil {
			continue
		}
		d.minimum = d.f.config.Minimum
		if d.other(base) {
			d.minimum *= brisk
		}
		err := from(ctx, base)
		if err == nil {
			continue
		}
		d.hurried = d.hurried || errors.Is(err, ErrSlow) && d.minimum > d.f.config.Minimum
		d.problems[base] = fmt.Errorf("%s: %w", base, err)
		d.rangeless[base] = d.rangeless[base] || errors.Is(err, errNoRange)
		if isLocal(err) {
			return
		}
	}
}

// other reports whether there is another base with which nothing was wrong so far.
func (d *download) other(base string) bool {
	return slices.ContainsFunc(d.job.Bases, func(b string) bool { return b != base && d.problems[b] == nil })
}

// ranged gets exactly what is missing.
func (d *download) ranged(ctx context.Context, base string) error {
	if d.rangeless[base] {
		return errNoRange
	}
	for _, r := range d.part.index.Ranges(d.part.missing()) {
		if err := d.receive(ctx, base, r); err != nil {
			return err
		}
	}
	return d.part.sync()
}

// maxWholes bounds how often a server that ignores Range may break off: each time
// might bring one chunk more, at the cost of all that come before it.
const maxWholes = 3

// whole gets the file from its start, from a server that cannot do better.
func (d *download) whole(ctx context.Context, base string) error {
	if !d.rangeless[base] || d.wholes[base] == maxWholes {
		return nil
	}
	d.wholes[base]++
	return errors.Join(d.receive(ctx, base, chunk.Range{Size: d.job.Size}), d.part.sync())
}

// receive asks for a range and stores the chunks in it that are missing.
func (d *download) receive(ctx context.Context, base string, r chunk.Range) error {
	body, err := d.f.open(ctx, join(base, d.job.Path), r, d.job.Size, d.minimum)
	if err != nil {
		return err
	}
	defer body.Close()
	defer func() { d.stats.Bytes += body.total }()
	for k, c := range d.part.index.Chunks {
		if c.Offset < r.Offset || c.End() > r.End() {
			continue
		}
		if err := d.part.fill(k, body); err != nil {
			return err
		}
	}
	return body.end()
}
