package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"micromirror/packages/chunk"
)

var (
	// ErrTooLong is wrapped by Get's error about a file longer than allowed.
	ErrTooLong = errors.New("longer than allowed")
	// ErrSlow is wrapped by errors about a server below the minimum rate.
	ErrSlow = errors.New("the server is too slow")

	errNoRange = errors.New("the server ignores Range")
)

// StatusError is an answer with another status than a file has.
type StatusError struct{ Code int }

func (e *StatusError) Error() string {
	return fmt.Sprintf("the server answered %d %s", e.Code, http.StatusText(e.Code))
}

// brief is an error that may quote a server, which may say a lot.
type brief struct{ error }

func (e brief) Error() string {
	const most = 600
	text := e.error.Error()
	if len(text) > most {
		return text[:most/2] + "…" + text[len(text)-most/2:]
	}
	return text
}

func (e brief) Unwrap() error { return e.error }

// Get downloads a small file of at most so many bytes.
func (f *Fetcher) Get(ctx context.Context, url string, limit int64) ([]byte, error) {
	body, err := f.request(ctx, url, "", f.config.Minimum)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", url, err)
	}
	defer body.Close()
	body.limit = nil
	switch {
	case body.answer.StatusCode != http.StatusOK:
		err = &StatusError{body.answer.StatusCode}
	case body.answer.ContentLength > limit:
		err = fmt.Errorf("%w: %d bytes, at most %d are", ErrTooLong, body.answer.ContentLength, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", url, err)
	}
	b, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%w: more than %d bytes", ErrTooLong, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", url, err)
	}
	return b, nil
}

func join(base, path string) string {
	return strings.TrimSuffix(base, "/") + "/" + strings.TrimPrefix(path, "/")
}

// open asks for a range of a file of that size.
func (f *Fetcher) open(ctx context.Context, url string, r chunk.Range, size, minimum int64) (*body, error) {
	header := fmt.Sprintf("bytes=%d-%d", r.Offset, r.End()-1)
	if r.Size == size {
		header = ""
	}
	b, err := f.request(ctx, url, header, minimum)
	if err != nil {
		return nil, err
	}
	if err := check(b.answer, r, size); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// check says whether the answer is the one to the question.
func check(a *http.Response, r chunk.Range, size int64) error {
	switch whole := r.Size == size; {
	case a.StatusCode == http.StatusOK && !whole:
		return errNoRange
	case a.StatusCode == http.StatusOK:
	case a.StatusCode == http.StatusPartialContent && !whole:
		want := fmt.Sprintf("bytes %d-%d/", r.Offset, r.End()-1)
		total, ok := strings.CutPrefix(a.Header.Get("Content-Range"), want)
		if !ok || total != "*" && total != fmt.Sprint(size) {
			return fmt.Errorf("%w: Content-Range is %.60q, want %q", errWrongData, a.Header.Get("Content-Range"), want+fmt.Sprint(size))
		}
	default:
		return &StatusError{a.StatusCode}
	}
	if a.ContentLength >= 0 && a.ContentLength != r.Size {
		return fmt.Errorf("%w: Content-Length is %d, want %d", errWrongData, a.ContentLength, r.Size)
	}
	return nil
}

func (f *Fetcher) request(ctx context.Context, url, ranges string, minimum int64) (*body, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	q.Header.Set("Accept-Encoding", "identity")
	q.Header.Set("User-Agent", f.config.UserAgent)
	if ranges != "" {
		q.Header.Set("Range", ranges)
	}
	b := &body{ctx: ctx, cancel: cancel, limit: f.config.Limit, patience: f.config.Patience, left: f.config.Patience}
	b.need = max(1, int64(float64(minimum)*b.patience.Seconds()))
	err = b.watched(func() (err error) {
		b.answer, err = f.client.Do(q)
		return err
	})
	if err != nil {
		cancel(nil)
		return nil, brief{err}
	}
	if e := b.answer.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, errors.Join(fmt.Errorf("%w: it is encoded as %.60q", errWrongData, e), b.Close())
	}
	return b, nil
}

// body is the body of an answer, read no faster than the limit and given up when
// it comes slower than the minimum: of the time spent waiting for the server, each
// stretch as long as its patience must bring the bytes needed.
type body struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	answer   *http.Response
	limit    *rate.Limiter
	patience time.Duration
	need     int64

	left  time.Duration // of this stretch
	got   int64         // in this stretch
	total int64
}

// watched runs something that waits for the server.
func (b *body) watched(f func() error) error {
	start := time.Now()
	timer := time.AfterFunc(b.left, func() { b.cancel(ErrSlow) })
	err := f()
	timer.Stop()
	b.left -= time.Since(start)
	if err != nil && errors.Is(context.Cause(b.ctx), ErrSlow) {
		return fmt.Errorf("%w: less than %d bytes in %s", ErrSlow, b.need, b.patience)
	}
	return err
}

func (b *body) Read(p []byte) (n int, err error) {
	if b.limit != nil && b.limit.Limit() != rate.Inf {
		p = p[:min(len(p), max(1, b.limit.Burst()))]
	}
	err = b.watched(func() (err error) {
		n, err = b.answer.Body.Read(p)
		return err
	})
	b.total += int64(n)
	if b.got += int64(n); b.got >= b.need {
		b.got, b.left = 0, b.patience
	}
	if b.limit != nil && n > 0 {
		if lerr := b.limit.WaitN(b.ctx, n); lerr != nil && err == nil {
			err = lerr
		}
	}
	return n, err
}

// end checks that nothing follows, which also lets the connection be used again.
func (b *body) end() error {
	n, err := b.Read(make([]byte, 1))
	if n > 0 {
		return fmt.Errorf("%w: more than was asked for", errWrongData)
	}
	if err != nil && err != io.EOF {
		return err
	}
	return nil
}

func (b *body) Close() error {
	err := b.answer.Body.Close()
	b.cancel(nil)
	return err
}
