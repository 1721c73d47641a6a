// Package bench compares a program of ours with its peer: it runs both by turns,
// takes medians, prints a table and writes it as JSON for the figures.
//
// A Row is one kind of work. Smaller is better throughout: units are costs
// (seconds of CPU, bytes of memory), so that Ratio below one means that ours is
// cheaper. Beside its cost a row may tell how much was done a second. Results go to
// build/bench/<name>.json, an array of rows.
package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
)

// Row is the result of one kind of work.
type Row struct {
	Work  string  `json:"work"`
	Unit  string  `json:"unit"`
	Ours  float64 `json:"ours"`
	Peer  float64 `json:"peer"`
	Ratio float64 `json:"ratio"`
	Aim   float64 `json:"aim"` // the ratio that was set as a goal, 0 for none

	RateUnit string  `json:"rate_unit,omitempty"` // of what was done a second
	OursRate float64 `json:"ours_rate,omitempty"`
	PeerRate float64 `json:"peer_rate,omitempty"`
}

// Sample is the outcome of one run.
type Sample struct {
	Cost float64
	Rate float64 // how much was done a second; 0 where that makes no sense
}

// Compare runs ours and peer by turns, rounds times, and takes the medians.
func Compare(rounds int, ours, peer func() (Sample, error)) (a, b Sample, err error) {
	var as, bs []Sample
	for i := range rounds {
		first, second, x, y := ours, peer, &as, &bs
		if i%2 == 1 { // whoever comes first may find the machine differently
			first, second, x, y = peer, ours, &bs, &as
		}
		for _, step := range []struct {
			run func() (Sample, error)
			to  *[]Sample
		}{{first, x}, {second, y}} {
			v, err := step.run()
			if err != nil {
				return Sample{}, Sample{}, err
			}
			*step.to = append(*step.to, v)
		}
	}
	return middle(as), middle(bs), nil
}

// middle takes the medians of cost and rate, each by itself.
func middle(samples []Sample) Sample {
	var costs, rates []float64
	for _, s := range samples {
		costs, rates = append(costs, s.Cost), append(rates, s.Rate)
	}
	return Sample{Median(costs), Median(rates)}
}

// Median returns the middle value, 0 of none.
func Median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// NewRow fills in the ratio.
func NewRow(work, unit string, ours, peer, aim float64) Row {
	r := Row{Work: work, Unit: unit, Ours: ours, Peer: peer, Aim: aim}
	if peer != 0 {
		r.Ratio = ours / peer
	}
	return r
}

// Print writes the rows as a table.
func Print(w io.Writer, peer string, rows []Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	rates := slices.ContainsFunc(rows, func(r Row) bool { return r.RateUnit != "" })
	fmt.Fprintf(t, "work\tunit\tours\t%s\tratio\taim\t\t", peer)
	if rates {
		fmt.Fprintf(t, "done\tours\t%s\t", peer)
	}
	fmt.Fprintln(t)
	for _, r := range rows {
		verdict := "reached"
		switch {
		case r.Aim == 0:
			verdict = ""
		case r.Ratio > r.Aim:
			verdict = "missed"
		}
		fmt.Fprintf(t, "%s\t%s\t%.3g\t%.3g\t%.2f\t%.2f\t%s\t", r.Work, r.Unit, r.Ours, r.Peer, r.Ratio, r.Aim, verdict)
		if r.RateUnit != "" {
			fmt.Fprintf(t, "%s\t%.4g\t%.4g\t", r.RateUnit, r.OursRate, r.PeerRate)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// Write stores the rows as dir/name.json.
func Write(dir, name string, rows []Row) error {
	data, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".json"), append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	return nil
}
