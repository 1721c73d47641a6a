package http

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"micromirror/packages/bench"
)

// crowd is how many clients hold a connection at a time.
const crowd = 10000

// memoryAim is the goal set for memory, in multiples of nginx.
const memoryAim = 4

// memory measures what a server fresh from its start holds with a crowd of
// clients, idle after a small request or stuck in a large one, in MB.
func memory(ctx context.Context, start func() (*server, error), target string) func() (bench.Sample, error) {
	return func() (bench.Sample, error) {
		s, err := start()
		if err != nil {
			return bench.Sample{}, err
		}
		defer s.stop()
		conns, err := gather(ctx, s, target)
		defer func() {
			for _, conn := range conns {
				conn.Close()
			}
		}()
		if err != nil {
			return bench.Sample{}, fmt.Errorf("gather %d clients: %w", crowd, err)
		}
		rss, err := bench.RSS(s.pid())
		return bench.Sample{Cost: float64(rss) / 1e6}, err
	}
}

// gather opens the connections; each has got the head of its response.
func gather(ctx context.Context, s *server, target string) ([]net.Conn, error) {
	conns := make([]net.Conn, 0, crowd)
	var mu sync.Mutex
	var wg sync.WaitGroup
	errs := make(chan error, 16)
	for range cap(errs) {
		wg.Go(func() {
			for range crowd / cap(errs) {
				conn, err := ask(ctx, s, target)
				if err != nil {
					errs <- err
					return
				}
				mu.Lock()
				conns = append(conns, conn)
				mu.Unlock()
			}
			errs <- nil
		})
	}
	wg.Wait()
	for range cap(errs) {
		if err := <-errs; err != nil {
			return conns, err
		}
	}
	return conns, nil
}

// window is a client's receive buffer: ten thousand that do not read must not use up
// what the kernel has for all connections together.
const window = 4 << 10

// stuck stands for a client that does not even end its handshake.
const stuck = ""

// ask sends a request, reads the response's head and leaves it at that.
func ask(ctx context.Context, s *server, target string) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, window)
		})
		return errors.Join(err, failed)
	}}
	socket, err := d.DialContext(ctx, "tcp", s.addr())
	if err != nil {
		return nil, err
	}
	if target == stuck {
		_, err := socket.Write([]byte("\x16\x03\x01\x02\x00\x01")) // the beginning of a hello
		return socket, err
	}
	conn := s.secured(socket)
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, s.addr()); err != nil {
		conn.Close()
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 1024), nil)
	if err != nil {
		conn.Close()
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		conn.Close()
		return nil, fmt.Errorf("status %s", resp.Status)
	}
	return conn, nil
}
