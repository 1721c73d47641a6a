package sync

import (
	"fmt"
	"time"

	"micromirror/packages/bench"
)

// pushAim is how long a push of 20 files may take, beside what upstream has to
// send: its list.
const pushAim = 2 * time.Second

// Table makes three rows of each comparison: wall time, CPU time and memory.
// Of memory may be taken 32 MiB and 150 bytes for each entry of the list, and 512
// MiB for a crowd, whatever rsync takes. What has no peer stands beside its aim:
// the time from a push of 20 files until they are published, where the aim is
// counted from upstream's list on, and the memory of a list of three million
// entries.
func Table(rows []Row, scale float64) []bench.Row {
	entries := map[string]float64{"a": 9, "b": 51_000, "c": 306_000, "d": 2, "e": 20_005, "g": 306_000, "h": 3_000_000}
	var table []bench.Row
	for _, r := range rows {
		name := fmt.Sprintf("%s (%s) %s", r.Side, r.Scenario, r.Name)
		limit := 32 + scale*entries[r.Scenario]*150/(1<<20)
		if r.Scenario == "f" {
			limit = 512
		}
		ours, rsync := float64(r.Ours.RSS)/1024, float64(r.Rsync.RSS)/1024
		if r.Scenario == "h" {
			table = append(table, bench.NewRow(name+", memory", "MiB", ours, rsync, 1))
			continue
		}
		table = append(table,
			bench.NewRow(name+", wall", "s", r.Ours.Wall.Seconds(), r.Rsync.Wall.Seconds(), 1),
			bench.NewRow(name+", CPU", "s", r.Ours.CPU.Seconds(), r.Rsync.CPU.Seconds(), 1),
			bench.NewRow(name+", memory", "MiB", ours, rsync, max(limit/max(rsync, 1), 1)))
		if r.Scenario == pushed {
			table = append(table, bench.NewRow(name+", push to published (peer: transfer + 2 s)", "s", r.Ours.Wall.Seconds(), (r.Transfer+pushAim).Seconds(), 1))
		}
	}
	return table
}
