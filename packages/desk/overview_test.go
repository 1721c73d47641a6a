package desk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

const goodStatus = `{"node": "one", "certificate": {"state": "valid", "not_after": "2027-01-01T12:00:00Z"}, "projects": [
	{"name": "gimp", "freshness": "fresh", "serving": true, "served_day": 3000000000, "size": 1000000000},
	{"name": "debian\u001b[2J", "freshness": "stale", "serving": true, "served_day": 1000000000}]}`

func TestOverview(t *testing.T) {
	o := newOffice(t)
	for _, n := range o.nodes {
		n.status = goodStatus
	}
	out := o.ok("status")
	for _, want := range []string{"one ", "1 of 2, not debian[2J", "4.0 GB", "40 days", "healthy for"} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Error("a node writes to the terminal as it likes")
	}
	o.nodes["two"].ill = errors.New("no answer on port 80")
	o.nodes["three"].answer = func(w http.ResponseWriter) { http.Error(w, "gone", http.StatusNotFound) }
	out, err := o.run("status")
	if err == nil || !strings.Contains(err.Error(), "not well: three, two") {
		t.Errorf("error = %v, want both named", err)
	}
	for _, want := range []string{"no answer on port 80", "404"} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
	if nodes := as[[]nodeStatus](o, "status", "one"); len(nodes) != 1 || nodes[0].Projects.Projects[0].ServedDay != 3e9 {
		t.Errorf("one = %+v", nodes)
	}
}

func TestNodesThatAnswerNonsense(t *testing.T) {
	o := newOffice(t)
	for name, body := range map[string]string{"one": "", "two": "[]", "three": strings.Repeat(" ", healthSize+10)} {
		o.nodes[name].status = body
	}
	out, err := o.run("status")
	if err == nil || strings.Count(out, "answers no status") != 3 {
		t.Errorf("error %v:\n%s", err, out)
	}
}

// after ends the context once so much was written.
type after struct {
	bytes.Buffer
	n      int
	cancel context.CancelFunc
}

func (a *after) Write(b []byte) (int, error) {
	if a.n--; a.n == 0 {
		a.cancel()
	}
	return a.Buffer.Write(b)
}

func TestWatchUntilInterrupted(t *testing.T) {
	o := newOffice(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := &after{n: 2, cancel: cancel}
	c := o.desk().command()
	c.SetArgs([]string{"watch", "one", "--every", "1s", "--json", "--fleet", o.fleet, "--address", "one=" + strings.TrimPrefix(o.nodes["one"].URL, "http://")})
	c.SetOut(out)
	c.SetErr(io.Discard)
	if err := c.ExecuteContext(ctx); err != nil {
		t.Errorf("being interrupted is an error: %v", err)
	}
	if got := strings.Count(out.String(), "\n"); got != 2 {
		t.Errorf("%d looks, want 2:\n%s", got, out.String())
	}
	o.refused([]string{"--every"}, "watch", "--every", "1ms")
}
