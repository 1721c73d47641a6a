package ktls

import (
	"bufio"
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/bench"
)

// body is a kind of response, and how many are one measurement.
type body struct {
	name, file string
	size       int
	requests   int
}

// bodies lists them, the smallest last.
var bodies = [...]body{
	{"32 MiB", "32m.bin", 32 << 20, 1},
	{"1 MiB", "1m.bin", 1 << 20, 16},
}

// round measures each body each way once.
func (r *results) round(ctx context.Context, targets map[string]target) error {
	for _, b := range bodies {
		if r.Costs[b.name] == nil {
			r.Costs[b.name] = map[string][]float64{}
		}
		for _, way := range ways {
			before, err := sealedByKernel()
			if err != nil {
				return err
			}
			cost, err := targets[way].cost(ctx, b)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", b.name, way, err)
			}
			after, err := sealedByKernel()
			if err != nil {
				return err
			}
			if (after > before) != (way == wayKernel) {
				return fmt.Errorf("%s, %s: the kernel sealed %d connections", b.name, way, after-before)
			}
			r.Costs[b.name][way] = append(r.Costs[b.name][way], cost)
		}
	}
	cost, err := aesCost()
	r.AES = append(r.AES, cost)
	return err
}

// cost fetches, on a connection that was used once, and returns the server's CPU time
// in seconds for a GB.
func (t target) cost(ctx context.Context, b body) (float64, error) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // made a moment ago
	defer transport.CloseIdleConnections()
	if err := t.fetch(ctx, transport, bodies[len(bodies)-1]); err != nil {
		return 0, err
	}
	before, err := bench.CPU(t.pid)
	if err != nil {
		return 0, err
	}
	for range b.requests {
		if err := t.fetch(ctx, transport, b); err != nil {
			return 0, err
		}
	}
	after, err := bench.CPU(t.pid)
	return perGB(after-before, b.requests*b.size), err
}

func perGB(spent time.Duration, size int) float64 { return spent.Seconds() / float64(size) * 1e9 }

// fetch gets a body whole.
func (t target) fetch(ctx context.Context, transport *http.Transport, b body) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url+"/"+b.file, nil)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if s := resp.TLS; s != nil && s.CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		return fmt.Errorf("cipher is %s", tls.CipherSuiteName(s.CipherSuite))
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || n != int64(b.size) {
		return fmt.Errorf("%s, %d bytes", resp.Status, n)
	}
	return nil
}

// sealedByKernel returns how many connections the kernel has taken to seal in
// software.
func sealedByKernel() (int64, error) {
	data, err := os.ReadFile("/proc/net/tls_stat")
	if err != nil {
		return 0, fmt.Errorf("kernel TLS: %w", err)
	}
	return count(data, "TlsTxSw")
}

// count finds a counter in lines of name and number.
func count(data []byte, name string) (int64, error) {
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) == 2 && f[0] == name {
			return strconv.ParseInt(f[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("kernel TLS: no counter %s", name)
}

// driver finds what the kernel uses for an algorithm: of those that it has (see
// proc_crypto(5)) the one of the highest priority.
func driver(data []byte, algorithm string) (best string) {
	priority := -1
	for entry := range strings.SplitSeq(string(data), "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(entry) {
			name, value, _ := strings.Cut(line, ":")
			fields[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
		p, err := strconv.Atoi(fields["priority"])
		if err == nil && fields["name"] == algorithm && p > priority {
			best, priority = fields["driver"], p
		}
	}
	return best
}

// aesCost is what AES-128-GCM alone costs: records in memory that stay in the
// caches.
func aesCost() (float64, error) {
	const record, records = 16 << 10, 1 << 10
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		return 0, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return 0, err
	}
	buf := make([]byte, record, record+gcm.Overhead())
	nonce := make([]byte, gcm.NonceSize())
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := threadTime()
	if err != nil {
		return 0, err
	}
	for range records {
		gcm.Seal(buf[:0], nonce, buf, nil)
	}
	after, err := threadTime()
	return perGB(after-before, record*records), err
}

func threadTime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("thread's time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}
