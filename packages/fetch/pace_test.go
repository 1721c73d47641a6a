package fetch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
)

// piped is a Fetcher that talks to a function, so that time can be that of a
// synctest bubble. The function gets each request.
func piped(t *testing.T, c Config, answer func(c net.Conn, r *http.Request)) *Fetcher {
	var servers sync.WaitGroup
	c.Dial = func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		servers.Go(func() {
			defer server.Close()
			for in := bufio.NewReader(server); ; {
				r, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				answer(server, r)
			}
		})
		return client, nil
	}
	f := New(c)
	t.Cleanup(func() {
		f.client.CloseIdleConnections()
		servers.Wait()
	})
	return f
}

// trickle answers with the content, so many bytes a second.
func trickle(content []byte, perSecond int) func(net.Conn, *http.Request) {
	return func(c net.Conn, _ *http.Request) {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(content))
		drip(c, content, perSecond)
	}
}

func drip(c net.Conn, b []byte, perSecond int) {
	for {
		n, err := c.Write(b[:min(len(b), perSecond)])
		if b = b[n:]; err != nil || len(b) == 0 {
			return
		}
		<-time.After(time.Second)
	}
}

// silence lasts until the client goes.
func silence(c net.Conn, _ *http.Request) { c.Read(make([]byte, 1)) }

// A server is given up when it falls below the minimum, wherever it stops.
func TestSlowServer(t *testing.T) {
	content := noise(1, 100_000)
	for name, c := range map[string]struct {
		answer func(net.Conn, *http.Request)
		slow   bool
	}{
		"fast enough":      {trickle(content, 2000), false},
		"too slow":         {trickle(content, 500), true},
		"never answers":    {silence, true},
		"header in pieces": {func(c net.Conn, _ *http.Request) { drip(c, []byte("HTTP/1.1 200 OK\r\nX: "+string(content)), 1) }, true},
		"stops half-way": {func(c net.Conn, r *http.Request) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(content), content[:50_000])
			silence(c, r)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := piped(t, Config{Minimum: 1000}, c.answer)
				start := time.Now()
				_, err := f.File(t.Context(), makeJob(t, content, false, "http://node.example"))
				if errors.Is(err, ErrSlow) != c.slow || (err != nil) != c.slow {
					t.Errorf("error %v, want slow: %v", err, c.slow)
				}
				if took := time.Since(start); c.slow && took > 2*time.Minute {
					t.Errorf("it took %s to give up", took)
				}
			})
		})
	}
}

// A server that is slow, but not too slow, is left alone while another is well, and
// does the work when none is.
func TestSlowServerBesideAnother(t *testing.T) {
	content := noise(1, 400_000)
	for name, c := range map[string]struct {
		other          func(net.Conn, *http.Request)
		least, longest time.Duration
	}{
		"one that is fast": {trickle(content, 1<<20), 30 * time.Second, 40 * time.Second},
		"one that is off":  {silence, 4 * time.Minute, 6 * time.Minute},
		"one as slow":      {trickle(content, 2000), 200 * time.Second, 6 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := piped(t, Config{Minimum: 1000}, func(conn net.Conn, r *http.Request) {
					if r.Host == "slow.example" {
						trickle(content, 2000)(conn, r)
					} else {
						c.other(conn, r)
					}
				})
				start := time.Now()
				if _, err := f.File(t.Context(), makeJob(t, content, false, "http://slow.example", "http://other.example")); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took < c.least || took > c.longest {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// The limit holds, and waiting for it is not held against the server.
func TestLimit(t *testing.T) {
	content := noise(1, 100_000)
	synctest.Test(t, func(t *testing.T) {
		f := piped(t, Config{Limit: rate.NewLimiter(100, 1000), Minimum: 1000}, trickle(content, 1<<20))
		start := time.Now()
		if _, err := f.File(t.Context(), makeJob(t, content, false, "http://node.example")); err != nil {
			t.Fatal(err)
		}
		if took, want := time.Since(start), 990*time.Second; took < want || took > want+time.Minute {
			t.Errorf("it took %s, want about %s", took, want)
		}
	})
}

// Whatever a server answers, a file under the final name is the right one.
func FuzzAnswer(f *testing.F) {
	content := noise(1, 100)
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + string(content)))
	f.Add([]byte("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 50-99/100\r\nContent-Length: 50\r\n\r\n" + string(content[50:])))
	f.Add([]byte("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-99/*\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.0 302 Found\r\nLocation: http://node.example/x\r\n\r\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		fetcher := piped(t, Config{}, func(c net.Conn, _ *http.Request) {
			c.Write(answer)
			c.Close()
		})
		j := makeJob(t, content, false, "http://node.example")
		_, err := fetcher.File(t.Context(), j)
		got, readErr := os.ReadFile(j.Dest)
		if err == nil && string(got) != string(content) || err != nil && readErr == nil {
			t.Errorf("error %v, but the file holds %q", err, got)
		}
	})
}

// Whatever a power cut left in the part file, only chunks that are right count.
func FuzzResume(f *testing.F) {
	content := noise(1, 100_000)
	f.Add([]byte{}, 0, 0)
	f.Add([]byte("torn"), 50_000, 80_000)
	f.Add(make([]byte, 5000), 10, 200_000)
	f.Fuzz(func(t *testing.T, damage []byte, at, size int) {
		j := makeJob(t, content, true)
		b := make([]byte, max(0, min(size, 1<<20)))
		copy(b, content)
		if at >= 0 && at < len(b) {
			copy(b[at:], damage)
		}
		if err := os.WriteFile(j.Dest+partSuffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := openPart(t.Context(), j.Dest+partSuffix, j.Index)
		if err != nil {
			t.Fatal(err)
		}
		defer p.close()
		for k, c := range j.Index.Chunks {
			same := c.End() <= int64(len(b)) && string(b[c.Offset:c.End()]) == string(content[c.Offset:c.End()])
			if p.have[k] != same {
				t.Errorf("chunk %d counts: %v, it is right: %v", k, p.have[k], same)
			}
		}
	})
}
