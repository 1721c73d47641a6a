package show

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"micromirror/packages/httpd/status"
	"micromirror/packages/vm"
)

// reportSync shows what the node says of its projects until ctx ends, and for
// each project that is there what it can be tried with.
func reportSync(ctx context.Context, m *vm.Machine, s *screen) error {
	w := newWatch(m.URL(""), "rsync://"+m.Addr(873))
	for {
		r, err := readStatus(ctx, m)
		if err == nil {
			for _, line := range w.changes(r) {
				s.line("%s", line)
			}
			if busy := w.progress(r, time.Now()); busy != "" {
				s.status("%s", busy)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.Off():
			return fmt.Errorf("the machine went off by itself; the console ends\n%s", m.ConsoleTail(25))
		case <-time.After(time.Second):
		}
	}
}

// watch remembers what was told of the projects.
type watch struct {
	page, rsync string // URLs of the node
	told        map[string]string
	tried       map[string]bool // whose commands were shown
	paces       map[string]*pace
}

func newWatch(page, rsync string) *watch {
	return &watch{page, rsync, map[string]string{}, map[string]bool{}, map[string]*pace{}}
}

func readStatus(ctx context.Context, m *vm.Machine) (r status.Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	body, err := m.WaitHTTP(ctx, "/status.json", 200)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(body, &r)
}

// changes words what is new since the last call.
func (w *watch) changes(r status.Report) []string {
	var out []string
	for _, p := range r.Projects {
		state, inStep := p.Status, false
		switch {
		case p.Status == "failed":
			state = "failed: " + p.Error
		case p.Status == "idle" && !p.LastUpdate.IsZero():
			state, inStep = fmt.Sprintf("in step with upstream, %d files, %s", p.Files, size(p.Size)), true
		}
		if w.told[p.Name] != state && state != "never" {
			out = append(out, fmt.Sprintf("sync: %s: %s", p.Name, state))
		}
		w.told[p.Name] = state
		if inStep && !w.tried[p.Name] {
			w.tried[p.Name] = true
			for _, command := range clients(p.Name, w.page, w.rsync) {
				out = append(out, "    "+command)
			}
		}
	}
	return out
}

// progress words the runs under way in one line, "" if there are none.
func (w *watch) progress(r status.Report, now time.Time) string {
	var out []string
	for _, p := range r.Projects {
		if g := p.Progress; g != nil {
			if w.paces[p.Name] == nil {
				w.paces[p.Name] = &pace{}
			}
			w.paces[p.Name].add(now, g.Phase, g.BytesDone, g.BytesTotal)
			out = append(out, fmt.Sprintf("%s: %s", p.Name, describe(g, w.paces[p.Name])))
		}
	}
	if out == nil {
		return ""
	}
	return "sync: " + strings.Join(out, "; ")
}

func describe(g *status.Progress, pace *pace) string {
	text := g.Phase
	if g.FilesTotal > 0 {
		text += fmt.Sprintf(" %d of %d files", g.FilesDone, g.FilesTotal)
	}
	if g.BytesTotal > 0 {
		text += fmt.Sprintf(", %s of %s", size(g.BytesDone), size(g.BytesTotal))
	}
	if rate := pace.rate(); rate > 0 {
		text += fmt.Sprintf(", %s/s", size(int64(rate)))
	}
	if left := pace.left(); left > 0 {
		text += fmt.Sprintf(", %v left", left)
	}
	return text
}

// size words a number of bytes in powers of 1024.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for ; v >= 1024 && i < len(units)-1; i++ {
		v /= 1024
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
