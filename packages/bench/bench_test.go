package bench

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCompareTakesTurnsAndMedians(t *testing.T) {
	var order string
	next := func(name string, values ...float64) func() (Sample, error) {
		return func() (Sample, error) {
			order += name
			v := values[0]
			values = values[1:]
			return Sample{v, -v}, nil
		}
	}
	ours, peer, err := Compare(3, next("o", 1, 9, 2), next("p", 5, 4, 6))
	if err != nil || ours != (Sample{2, -2}) || peer != (Sample{5, -5}) || order != "oppoop" {
		t.Errorf("got %v, %v, %v in order %s", ours, peer, err, order)
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 5}, 5}} {
		if got := Median(test.in); got != test.want {
			t.Errorf("Median(%v) = %v, want %v", test.in, got, test.want)
		}
	}
}

func TestTable(t *testing.T) {
	rows := []Row{NewRow("4 KiB", "s", 1, 2, 0.9), NewRow("listing", "s", 3, 2, 0.9)}
	var out bytes.Buffer
	if err := Print(&out, "nginx", rows); err != nil {
		t.Fatal(err)
	}
	want := "     work  unit  ours  nginx  ratio   aim         \n" +
		"    4 KiB     s     1      2   0.50  0.90  reached\n" +
		"  listing     s     3      2   1.50  0.90   missed\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	out.Reset()
	if err := Print(&out, "nginx", []Row{NewRow("part", "s", 3, 2, 0)}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "missed") || strings.Contains(out.String(), "reached") {
		t.Errorf("a row without a goal is judged:\n%s", out.String())
	}
	rows[0].RateUnit, rows[0].OursRate, rows[0].PeerRate = "MB/s", 100, 50
	out.Reset()
	if err := Print(&out, "nginx", rows[:1]); err != nil {
		t.Fatal(err)
	}
	want = "   work  unit  ours  nginx  ratio   aim           done  ours  nginx\n" +
		"  4 KiB     s     1      2   0.50  0.90  reached  MB/s   100     50\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	dir := t.TempDir()
	if err := Write(dir, "x", rows); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "x.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got []Row
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rows, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestProcessFigures(t *testing.T) {
	cpu, err := CPU(os.Getpid())
	if err != nil || cpu <= 0 {
		t.Errorf("own processor time %v, %v", cpu, err)
	}
	rss, err := RSS(os.Getpid())
	if err != nil || rss <= 1<<20 {
		t.Errorf("own memory %v, %v", rss, err)
	}
}
