package eventloop

import (
	"sync"

	"golang.org/x/sys/unix"

	"micromirror/packages/httpd/cache"
)

// disk reads file pages into memory for the loops. What it reads it throws away:
// the point is that the page cache has it afterwards.
type disk struct {
	jobs chan fetch
	wg   sync.WaitGroup
}

// fetch asks for a part of an item on behalf of a connection.
type fetch struct {
	loop *loop
	id   connID
	item *cache.Item // retained
	off  int64
	n    int
}

// helpers bounds the reads under way: enough for a disk's queue.
const helpers = 16

func newDisk() *disk {
	d := &disk{jobs: make(chan fetch, 1024)}
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

// ask queues a fetch, or says that the queue is full.
func (d *disk) ask(f fetch) bool {
	select {
	case d.jobs <- f:
		return true
	default:
		return false
	}
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
	f.loop.fetched(f.id)
}
