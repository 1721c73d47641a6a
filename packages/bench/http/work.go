package http

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"micromirror/packages/bench"
)

// work is one kind of request, repeated by wrk.
type work struct {
	name    string
	target  string
	method  string
	headers []string
	random  bool // among the 200 chosen files
	cold    bool // the directory changes before every request
	slow    bool // nginx takes long for one request: run longer
	shakes  bool // a connection for each request
	resume  bool // of sessions
	perGB   bool // cost per gigabyte instead of per 100,000 requests
	clients int
	aim     float64
}

func (w *work) unit() string {
	if w.perGB {
		return "CPU s per GB"
	}
	return "CPU s per 100k requests"
}

// aim is the goal set for every kind of work.
const aim = 0.9

func works() []work {
	return []work{
		{name: "4 KiB", target: "/4k.bin", clients: 64, aim: aim},
		{name: "64 KiB", target: "/64k.bin", clients: 64, aim: aim},
		{name: "1 MiB", target: "/1m.bin", clients: 32, aim: aim},
		{name: "256 MiB", target: "/256m.bin", clients: 4, perGB: true, aim: aim},
		{name: "1 MiB range of 4 GiB", target: "/4g.bin", headers: []string{"Range: bytes=2147483000-2148531575"}, clients: 32, aim: aim},
		{name: "304", target: "/4k.bin", headers: []string{"If-Modified-Since: " + modTime.Format(httpTime)}, clients: 64, aim: aim},
		{name: "HEAD", target: "/4k.bin", method: "HEAD", clients: 64, aim: aim},
		{name: "404", target: "/missing.bin", clients: 64, aim: aim},
		{name: "200 of 100,000 files", random: true, clients: 64, aim: aim},
		{name: "listing of 50,000, hot", target: "/large/", clients: 2, slow: true, aim: aim},
		{name: "listing of 50,000, cold", target: "/large/", cold: true, aim: aim},
	}
}

const httpTime = "Mon, 02 Jan 2006 15:04:05 GMT"

// rateUnit is what is counted a second.
func (w *work) rateUnit() string {
	if w.perGB {
		return "MB/s"
	}
	return "requests/s"
}

// on returns one run of the work against a server.
func (w *work) on(ctx context.Context, c *Config, s *server) func() (bench.Sample, error) {
	return func() (bench.Sample, error) {
		before, err := bench.CPU(s.pid())
		if err != nil {
			return bench.Sample{}, err
		}
		begun := time.Now()
		n, err := w.run(ctx, c, s)
		if err != nil {
			return bench.Sample{}, err
		}
		took := time.Since(begun)
		after, err := bench.CPU(s.pid())
		if err != nil {
			return bench.Sample{}, err
		}
		unit, rate := 1e5, n/took.Seconds()
		if w.perGB {
			unit, rate = 1e9, rate/1e6
		}
		return bench.Sample{Cost: (after - before).Seconds() / n * unit, Rate: rate}, nil
	}
}

// run does the work for a while and returns how much: requests or bytes.
func (w *work) run(ctx context.Context, c *Config, s *server) (float64, error) {
	if w.cold {
		return w.runCold(ctx, c, s)
	}
	if w.shakes {
		return shake(ctx, s, w, time.Duration(c.Seconds)*time.Second)
	}
	if w.method == "HEAD" {
		n, err := head(ctx, s.url+w.target, w.clients, time.Duration(c.Seconds)*time.Second)
		return float64(n), err
	}
	seconds := c.Seconds
	if w.slow {
		seconds *= 4
	}
	script := filepath.Join(c.Scratch, "work.lua")
	if err := os.WriteFile(script, []byte(w.script()), 0o644); err != nil {
		return 0, err
	}
	out, err := exec.CommandContext(ctx, "wrk", "-t2", "-c"+strconv.Itoa(w.clients),
		"-d"+strconv.Itoa(seconds)+"s", "--timeout", "30s", "-s", script, s.url+w.target).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	m := figures.FindSubmatch(out)
	amount := 1 // requests, or bytes, which count before a request is complete
	if w.perGB {
		amount = 2
	}
	if m == nil || string(m[amount]) == "0" || string(m[3]) != "0" {
		return 0, fmt.Errorf("wrk: %s", out)
	}
	return strconv.ParseFloat(string(m[amount]), 64)
}

// runCold touches a file of the directory before each request.
func (w *work) runCold(ctx context.Context, c *Config, s *server) (float64, error) {
	file := filepath.Join(c.Scratch, "tree", w.target, "touched")
	end := time.Now().Add(time.Duration(c.Seconds) * time.Second)
	n := 0.0
	for ; time.Now().Before(end); n++ {
		if err := os.WriteFile(file, []byte(time.Now().String()), 0o644); err != nil {
			return 0, err
		}
		conn, err := ask(ctx, s, w.target+"?n="+strconv.Itoa(int(n)))
		if err != nil {
			return 0, err
		}
		conn.Close()
	}
	return n, nil
}

// figures are what wrk prints at the end by our script.
var figures = regexp.MustCompile(`requests=(\d+) bytes=(\d+) errors=(\d+)`)

// script tells wrk what to ask for and to print exact figures.
func (w *work) script() string {
	var b strings.Builder
	for _, h := range w.headers {
		name, value, _ := strings.Cut(h, ": ")
		fmt.Fprintf(&b, "wrk.headers[%q] = %q\n", name, value)
	}
	if w.random {
		fmt.Fprintf(&b, "request = function()\n"+
			"  return wrk.format(nil, string.format('/many/%%02d/%%05d.deb', math.random(0, 1), math.random(0, 99)))\nend\n")
	}
	b.WriteString("done = function(summary)\n" +
		"  local e = summary.errors\n" +
		"  print(string.format('requests=%d bytes=%d errors=%d', summary.requests, summary.bytes, e.connect+e.read+e.write+e.timeout))\nend\n")
	return b.String()
}
