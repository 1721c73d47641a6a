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

// reportSync shows what the node says of its projects until ctx ends.
func reportSync(ctx context.Context, m *vm.Machine, s *screen) error {
	told := map[string]string{}
	for {
		r, err := readStatus(ctx, m)
		if err == nil {
			for _, line := range changes(r, told) {
				s.line("%s", line)
			}
			if busy := progress(r); busy != "" {
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

func readStatus(ctx context.Context, m *vm.Machine) (r status.Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	body, err := m.WaitHTTP(ctx, "/status.json", 200)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(body, &r)
}

// changes words what is new since the last call; told remembers it.
func changes(r status.Report, told map[string]string) []string {
	var out []string
	for _, p := range r.Projects {
		state := p.Status
		switch {
		case p.Status == "failed":
			state = "failed: " + p.Error
		case p.Status == "idle" && !p.LastUpdate.IsZero():
			state = fmt.Sprintf("in step with upstream, %d files, %s", p.Files, size(p.Size))
		}
		if told[p.Name] != state && state != "never" {
			out = append(out, fmt.Sprintf("sync: %s: %s", p.Name, state))
		}
		told[p.Name] = state
	}
	return out
}

// progress words the runs under way in one line, "" if there are none.
func progress(r status.Report) string {
	var out []string
	for _, p := range r.Projects {
		if p.Progress == nil {
			continue
		}
		g := p.Progress
		text := fmt.Sprintf("sync: %s: %s", p.Name, g.Phase)
		if g.FilesTotal > 0 {
			text += fmt.Sprintf(" %d of %d files", g.FilesDone, g.FilesTotal)
		}
		if g.BytesTotal > 0 {
			text += fmt.Sprintf(", %s of %s, %s/s", size(g.BytesDone), size(g.BytesTotal), size(int64(g.BytesPerSecond)))
		}
		if g.ETASeconds > 0 {
			text += fmt.Sprintf(", %v left", time.Duration(g.ETASeconds*float64(time.Second)).Round(time.Second))
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
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
