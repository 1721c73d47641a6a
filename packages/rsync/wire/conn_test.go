package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// pair is a connection and its other end.
func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	b = <-accepted
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestConnTimeout(t *testing.T) {
	a, _ := pair(t)
	c := NewConn(t.Context(), a, time.Millisecond)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
	var err error
	for big := make([]byte, 1<<20); err == nil; {
		_, err = c.Write(big)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write: %v", err)
	}
}

func TestConnCancel(t *testing.T) {
	a, b := pair(t)
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	c := NewConn(ctx, a, 0)
	read := make(chan error)
	go func() {
		_, err := c.Read(make([]byte, 1))
		read <- err
	}()
	cancel(cause)
	if err := <-read; !errors.Is(err, cause) {
		t.Errorf("read: %v", err)
	}
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("other end: %v", err)
	}
	if _, err := c.WriteVector(&net.Buffers{[]byte("x")}); !errors.Is(err, cause) {
		t.Errorf("write: %v", err)
	}
}

// TestConnPace reads more than the limits allow at once: no read may ask for
// more than a limit's burst, which would be refused, and the tokens are spent.
func TestConnPace(t *testing.T) {
	a, b := pair(t)
	c := NewConn(t.Context(), a, time.Minute, nil, rate.NewLimiter(1<<20, 1000), rate.NewLimiter(rate.Inf, 0))
	go func() {
		b.Write(make([]byte, 10_000))
		b.Close()
	}()
	got, err := io.ReadAll(c)
	if err != nil || len(got) != 10_000 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestConnPaceCancel(t *testing.T) {
	a, b := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	c := NewConn(ctx, a, 0, rate.NewLimiter(1, 1))
	b.Write(make([]byte, 100))
	done := make(chan error)
	go func() {
		_, err := io.ReadAll(c)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestWriteVector writes large data in one go, with the frame header in front.
func TestWriteVector(t *testing.T) {
	a, b := pair(t)
	w := NewWriter(NewConn(t.Context(), a, time.Minute), 0)
	w.StartMultiplex()
	big := make([]byte, 1<<20)
	big[len(big)-1] = 7
	written := make(chan struct{})
	go func() {
		defer close(written)
		w.Int32(5)
		w.Write(big)
		a.Close()
	}()
	r := NewReader(b, 0)
	r.StartMultiplex()
	if v := r.Int32(); v != 5 {
		t.Errorf("int32 %d", v)
	}
	r.Skip(1<<20 - 1)
	if v := r.Byte(); v != 7 || r.Err() != nil {
		t.Errorf("last byte %d, %v", v, r.Err())
	}
	<-written
	if w.Total() != r.Total() {
		t.Errorf("%d bytes written, %d read", w.Total(), r.Total())
	}
}
