package demand

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func free2(string, string) bool { return false }

func TestChooseIsTheBestOfAllSets(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	excludes := func(a, b string) bool { return a+b == "ab" || a+b == "ba" }
	for range 200 {
		var ps []Project
		for i := range 10 {
			ps = append(ps, Project{Name: string(rune('a' + i)), Size: 1 + random.Int64N(50), Daily: random.Int64N(100)})
		}
		room := random.Int64N(200)
		got := Choose(ps, room, nil, excludes)
		if want := exhaustive(ps, room, excludes); got.Daily != want {
			t.Fatalf("%v in %d: serves %d, the best set %d", ps, room, got.Daily, want)
		}
		if got.Used > room || !got.Exact || len(got.Chosen)+len(got.LeftOut) != len(ps) {
			t.Fatalf("plan %+v does not hold together", got)
		}
	}
}

func exhaustive(ps []Project, room int64, excludes func(a, b string) bool) (best int64) {
	for set := range 1 << len(ps) {
		var size, daily int64
		good := true
		for i, p := range ps {
			if set>>i&1 == 0 {
				continue
			}
			size, daily = size+p.Size, daily+p.Daily
			for j := range i {
				good = good && (set>>j&1 == 0 || !excludes(p.Name, ps[j].Name))
			}
		}
		if good && size <= room {
			best = max(best, daily)
		}
	}
	return best
}

func TestKept(t *testing.T) {
	ps := []Project{{"big", 90, 10}, {"small", 20, 50}}
	got := Choose(ps, 100, []string{"big"}, free2)
	if d := cmp.Diff([]Project{{"big", 90, 10}}, got.Chosen); d != "" {
		t.Errorf("chosen (-want +got):\n%s", d)
	}
}

func TestRoom(t *testing.T) {
	if got := Room(1 << 20); got != 0 {
		t.Errorf("a disk that is too small has room for %d bytes", got)
	}
	const two = 2_000_000_000_000
	if got := Room(two); got > two*93/100 || got < two*92/100 {
		t.Errorf("2 TB have room for %d bytes", got)
	}
}

func TestParseCSV(t *testing.T) {
	got, err := ParseCSV(strings.NewReader("project,bytes_per_day,bytes_on_disk\n# fleet, last week\ndebian, 1.5T, 2T\ngimp,100\n"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Project{{"debian", 2 << 40, 3 << 39}, {"gimp", 0, 100}}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for in, want := range map[string]string{
		"gimp":            "line 1: has 1 columns",
		"gimp,1\ngimp,2":  "line 2: \"gimp\" is there twice",
		"\n,1":            "line 2: project is empty",
		"gimp,many":       "line 1: column 2",
		"gimp,1,2,3":      "4 columns",
		"gimp,-1":         "column 2",
		"a,1\n\"b,1\nc,2": "line",
	} {
		if _, err := ParseCSV(strings.NewReader(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", in, err, want)
		}
	}
}

func FuzzParseCSV(f *testing.F) {
	f.Add("project,bytes_per_day\ngimp,1G\n")
	f.Add("a,1\na,2\n\"x\ny\",3,4T")
	f.Fuzz(func(t *testing.T, s string) {
		ps, err := ParseCSV(strings.NewReader(s))
		if err != nil {
			return
		}
		for _, p := range ps {
			if p.Name == "" || p.Size < 0 || p.Daily < 0 {
				t.Errorf("accepted %+v", p)
			}
		}
	})
}
