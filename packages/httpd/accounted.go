package httpd

import (
	"bytes"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"micromirror/packages/httpd/eventloop"
)

// accounted is a connection that net/http serves, with its account at the limits.
//
// net/http answers some requests by itself, without asking the handler: those that
// it cannot read. They are told apart by what it does: it writes a response after
// the one before has ended (idle), and the handler has not been asked (handled).
type accounted struct {
	net.Conn
	client  eventloop.Client
	refused func(*accounted, int)

	mu      sync.Mutex
	fresh   bool   // what is read next begins a request
	begin   []byte // the beginning of the request
	begun   time.Time
	waiting bool // the next response is not the handler's yet
}

// beginning is how much of a request is kept for the log.
const beginning = 256

// idle is net/http's ConnState: a response has ended.
func idle(c net.Conn, s http.ConnState) {
	a, ok := c.(*accounted)
	if !ok || s != http.StateIdle {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting, a.fresh = true, true
	a.begin, a.begun = nil, time.Now()
}

// handled says that the handler answers.
func (a *accounted) handled() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting = false
}

func (a *accounted) Read(p []byte) (int, error) {
	n, err := a.Conn.Read(p)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fresh && n > 0 {
		a.fresh, a.begun = false, time.Now()
		a.begin = bytes.Clone(p[:min(n, beginning)])
	}
	return n, err
}

func (a *accounted) Write(p []byte) (int, error) {
	if status := a.refusal(p); status != 0 {
		a.refused(a, status)
	}
	return a.Conn.Write(p)
}

// refusal returns the status that p begins with if it is none of the handler's.
func (a *accounted) refusal(p []byte) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.waiting {
		return 0
	}
	_, rest, ok := bytes.Cut(p, []byte("HTTP/1.1 "))
	if !ok || len(rest) < 3 {
		return 0
	}
	status, err := strconv.Atoi(string(rest[:3]))
	if err != nil || status < 200 { // 100 Continue comes before an answer
		return 0
	}
	a.waiting = false
	return status
}

// line is the request line as far as it is known: one that came together with the
// request before it is not.
func (a *accounted) line() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.begin == nil {
		return []byte("-")
	}
	line, _, _ := bytes.Cut(a.begin, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r"))
}

// CloseWrite is what net/http looks for to end a connection gently.
func (a *accounted) CloseWrite() error {
	if c, ok := a.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}
