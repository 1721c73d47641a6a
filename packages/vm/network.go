package vm

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

var forwardRE = regexp.MustCompile(`(?m)TCP\[HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)\s+\S+\s+(\d+)\s`)

// forwards reads the answer to "info usernet": the node's port → port on this
// computer.
func forwards(table string) map[int]int {
	out := map[int]int{}
	for _, m := range forwardRE.FindAllStringSubmatch(table, -1) {
		host, err1 := strconv.Atoi(m[1])
		guest, err2 := strconv.Atoi(m[2])
		if err1 == nil && err2 == nil {
			out[guest] = host
		}
	}
	return out
}

// wantedPorts asks for the ports of the last power cycle again, so that URLs stay
// valid over a power cut.
func (m *Machine) wantedPorts() map[int]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.ports) > 0 {
		return m.ports
	}
	return m.cfg.Ports
}

// Addr is where this computer reaches the node's TCP port, as host:port. A port
// that is not forwarded gives an address that refuses connections.
func (m *Machine) Addr(port int) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return "127.0.0.1:" + strconv.Itoa(m.ports[port])
}

// URL is the address of a path on the node's HTTP server.
func (m *Machine) URL(path string) string { return "http://" + m.Addr(80) + path }

// pollEvery is how often WaitHTTP asks. Under emulation an answer takes
// tens of milliseconds.
const pollEvery = 200 * time.Millisecond

// WaitHTTP asks for a path until the answer has the wanted status, and returns
// its body. It is for answers that no console line announces.
func (m *Machine) WaitHTTP(ctx context.Context, path string, status int) ([]byte, error) {
	client := &http.Client{Timeout: 30 * time.Second, CheckRedirect: noRedirect,
		Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	last := "nothing yet"
	for {
		body, got, err := get(ctx, client, m.URL(path))
		switch {
		case err == nil && got == status:
			return body, nil
		case err != nil:
			last = err.Error()
		default:
			last = fmt.Sprintf("status %d", got)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %s to answer %d: %w; last: %s", path, status, context.Cause(ctx), last)
		case <-m.Off():
			return nil, fmt.Errorf("wait for %s to answer %d: %w; last: %s; the console ends\n%s", path, status, ErrOff, last, m.ConsoleTail(25))
		case <-time.After(pollEvery):
		}
	}
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func get(ctx context.Context, client *http.Client, url string) ([]byte, int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return body, resp.StatusCode, err
}

// Link is a cable between two machines, or between a machine and the test.
type Link struct{ Ends [2]LinkEnd }

// LinkEnd goes into Config.Links.
type LinkEnd struct {
	file *os.File
	n    byte
}

// MAC is the address of the card at this end.
func (e LinkEnd) MAC() string { return fmt.Sprintf("52:54:00:6d:6d:%02x", e.n) }

// NewLink makes a cable; id, different for each cable of a scenario, gives the
// cards different addresses. Frames to a machine that is off wait in a short
// queue.
func NewLink(id byte) (*Link, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	l := &Link{}
	for i, fd := range fds {
		l.Ends[i] = LinkEnd{os.NewFile(uintptr(fd), "link"), 16 + 2*id + byte(i)}
	}
	return l, nil
}

// Close takes the cable away.
func (l *Link) Close() {
	l.Ends[0].file.Close()
	l.Ends[1].file.Close()
}
