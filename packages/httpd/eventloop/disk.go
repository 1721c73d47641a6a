package eventloop

import (
	"sync"

	"golang.org/x/sys/unix"

	"micromirror/packages/httpd/answer"
	"micromirror/packages/httpd/cache"
)

// disk does for the loops what may wait for the disk.
type disk struct {
	jobs chan job
	wg   sync.WaitGroup
}

// job is done by a helper, with a buffer of its own, on behalf of a connection.
type job interface{ run(buf []byte) }

// helpers bounds the reads under way: enough for a disk's queue.
const helpers = 16

func newDisk() *disk {
	d := &disk{jobs: make(chan job, 1024)}
	for range helpers {
		d.wg.Go(func() {
			buf := make([]byte, 256<<10)
			for j := range d.jobs {
				j.run(buf)
			}
		})
	}
	return d
}

func (d *disk) close() {
	close(d.jobs)
	d.wg.Wait()
}

// ask queues a job, or says that the queue is full.
func (d *disk) ask(j job) bool {
	select {
	case d.jobs <- j:
		return true
	default:
		return false
	}
}

// fetch reads pages of a file into memory. The bytes are thrown away: the point
// is that the page cache has them afterwards.
type fetch struct {
	loop *loop
	id   connID
	item *cache.Item // retained
	off  int64
	n    int
}

// run touches the pages. Errors show again when the loop sends, which reports
// them.
func (f *fetch) run(buf []byte) {
	fd := f.item.File.FD()
	for n := 0; n < f.n; {
		m, err := unix.Pread(fd, buf[:min(len(buf), f.n-n)], f.off+int64(n))
		if err != nil && err != unix.EINTR || err == nil && m == 0 {
			break
		}
		n += max(m, 0)
	}
	f.item.Release()
	f.loop.done(f.id, nil)
}

// question asks the site for what is not in the cache.
type question struct {
	loop    *loop
	id      connID
	request *answer.Request
}

func (q *question) run([]byte) { q.loop.done(q.id, q.loop.config.Site.Answer(q.request)) }

// result is what a helper has done.
type result struct {
	id   connID
	resp *answer.Response // nil if pages were fetched
}

// done is called by a helper.
func (l *loop) done(id connID, resp *answer.Response) {
	l.mu.Lock()
	l.results = append(l.results, result{id, resp})
	l.mu.Unlock()
	l.wake.signal()
}

// resume goes on with connections whose helpers are done.
func (l *loop) resume() {
	l.mu.Lock()
	results, arrivals := l.results, l.arrivals
	l.results, l.arrivals = nil, nil
	l.mu.Unlock()
	for _, a := range arrivals {
		l.enter(a)
	}
	for _, r := range results {
		c := l.conns[r.id.slot]
		switch {
		case c == nil || c.id != r.id: // gone meanwhile
			if r.resp != nil {
				r.resp.Close()
			}
		case r.resp == nil:
			c.helped = false
			l.proceed(c)
		default:
			c.helped = false
			l.answered(c, r.resp)
		}
	}
}

// answered sends the answer to a question.
func (l *loop) answered(c *conn, resp *answer.Response) {
	q := c.question
	c.question = nil
	o := &l.scratch
	*o = output{body: l.segment[:0], record: q.record}
	l.fromResponse(c, o, q.head, q.http10, resp)
	l.start(c, o)
	l.goOn(c)
}
