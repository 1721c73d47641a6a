package http

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// head sends HEAD requests, which wrk cannot: it waits for a body. It returns
// how many were answered.
func head(ctx context.Context, url string, clients int, length time.Duration) (int64, error) {
	addr, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return 0, err
	}
	text := []byte("HEAD /" + path + " HTTP/1.1\r\nHost: " + addr + "\r\n\r\n")
	end := time.Now().Add(length)
	var answered atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, clients)
	for range clients {
		wg.Go(func() { errs <- headLoop(addr, text, request, end, &answered) })
	}
	wg.Wait()
	for range clients {
		if err := <-errs; err != nil {
			return 0, fmt.Errorf("head: %w", err)
		}
	}
	return answered.Load(), nil
}

// headLoop asks on one connection until the end.
func headLoop(addr string, text []byte, request *http.Request, end time.Time, answered *atomic.Int64) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for time.Now().Before(end) {
		if _, err := conn.Write(text); err != nil {
			return err
		}
		resp, err := http.ReadResponse(r, request)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %s", resp.Status)
		}
		answered.Add(1)
	}
	return nil
}
