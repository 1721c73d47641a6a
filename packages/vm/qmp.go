package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// Event is something QEMU reported: RESET, SHUTDOWN, WATCHDOG, GUEST_PANICKED, …
type Event struct {
	Cycle int
	At    time.Duration // since that PowerOn
	Name  string
	Data  json.RawMessage
}

// qmp speaks the QEMU Machine Protocol on conn.
type qmp struct {
	conn   io.ReadWriteCloser
	origin time.Time
	cycle  int

	mu      sync.Mutex
	nextID  int
	pending map[int]chan qmpMessage
	events  []Event
	changed chan struct{}
	closed  chan struct{}
}

type qmpMessage struct {
	Greeting json.RawMessage `json:"QMP"`
	ID       *int            `json:"id"`
	Return   json.RawMessage `json:"return"`
	Error    *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
}

var errQMPClosed = errors.New("qemu closed its control connection")

// newQMP reads conn until it ends; hello must be called before any command.
func newQMP(conn io.ReadWriteCloser, cycle int, origin time.Time) *qmp {
	q := &qmp{conn: conn, origin: origin, cycle: cycle, pending: map[int]chan qmpMessage{},
		changed: make(chan struct{}), closed: make(chan struct{})}
	go q.read()
	return q
}

func (q *qmp) read() {
	defer close(q.closed)
	dec := json.NewDecoder(q.conn)
	for {
		var m qmpMessage
		if err := dec.Decode(&m); err != nil {
			return
		}
		q.dispatch(m)
	}
}

func (q *qmp) dispatch(m qmpMessage) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case m.Event != "":
		q.events = append(q.events, Event{q.cycle, time.Since(q.origin), m.Event, m.Data})
		close(q.changed)
		q.changed = make(chan struct{})
	case m.ID != nil && q.pending[*m.ID] != nil:
		q.pending[*m.ID] <- m // buffered: one answer for each
		delete(q.pending, *m.ID)
	}
}

// hello ends the protocol's capability negotiation. QEMU reads it after it has
// sent its greeting, so there is no need to wait for that.
func (q *qmp) hello(ctx context.Context) error { return q.do(ctx, "qmp_capabilities", nil, nil) }

// do runs one command and decodes its result into out, which may be nil.
func (q *qmp) do(ctx context.Context, name string, args, out any) error {
	answer := make(chan qmpMessage, 1)
	q.mu.Lock()
	q.nextID++
	id := q.nextID
	q.pending[id] = answer
	q.mu.Unlock()
	req, err := json.Marshal(struct {
		Execute string `json:"execute"`
		Args    any    `json:"arguments,omitempty"`
		ID      int    `json:"id"`
	}{name, args, id})
	if err != nil {
		return fmt.Errorf("qmp %s: %w", name, err)
	}
	if _, err := q.conn.Write(append(req, '\n')); err != nil {
		return fmt.Errorf("qmp %s: %w", name, err)
	}
	select {
	case m := <-answer:
		return m.result(name, out)
	case <-q.closed:
		return fmt.Errorf("qmp %s: %w", name, errQMPClosed)
	case <-ctx.Done():
		return fmt.Errorf("qmp %s: %w", name, context.Cause(ctx))
	}
}

func (m qmpMessage) result(name string, out any) error {
	if m.Error != nil {
		return fmt.Errorf("qmp %s: %s: %s", name, m.Error.Class, m.Error.Desc)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(m.Return, out); err != nil {
		return fmt.Errorf("qmp %s: answer: %w", name, err)
	}
	return nil
}

// seen returns the events so far and a channel closed at the next one.
func (q *qmp) seen() ([]Event, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.events), q.changed
}

// wait blocks until n events of that name were seen in this power cycle.
func (q *qmp) wait(ctx context.Context, name string, n int) (Event, error) {
	for {
		events, changed := q.seen()
		count := 0
		for _, e := range events {
			if e.Name == name {
				if count++; count == n {
					return e, nil
				}
			}
		}
		select {
		case <-changed:
		case <-q.closed:
			if now, _ := q.seen(); len(now) > len(events) {
				continue
			}
			return Event{}, fmt.Errorf("wait for event %s: %w", name, errQMPClosed)
		case <-ctx.Done():
			return Event{}, fmt.Errorf("wait for event %s: %w", name, context.Cause(ctx))
		}
	}
}
