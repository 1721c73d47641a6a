package slot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// at returns the entry that a file name and a generation describe.
func at(t *testing.T, file string, generation uint64) Entry {
	t.Helper()
	n := Name(strings.TrimPrefix(file, "slot-")[:1])
	e, err := ParseEntry(file+".conf", testEntry(n, generation).Body())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

type file struct {
	name       string // without .conf
	generation uint64
}

// What systemd-boot 262 boots, by its documented order (loader entries "are
// sorted: those without tries last, then by sort-key, version, file name").
func TestChoose(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []file
		want  string
	}{
		{"new disk", []file{{"slot-a+5", 2}, {"slot-b", 1}}, "slot-a+5"},
		{"boot counted", []file{{"slot-a+4-1", 2}, {"slot-b", 1}}, "slot-a+4-1"},
		{"last try", []file{{"slot-a+1-4", 2}, {"slot-b", 1}}, "slot-a+1-4"},
		{"tries used up", []file{{"slot-a+0-5", 2}, {"slot-b", 1}}, "slot-b"},
		{"update on trial", []file{{"slot-a", 2}, {"slot-b+3", 3}}, "slot-b+3"},
		{"update failed", []file{{"slot-a", 2}, {"slot-b+0-3", 3}}, "slot-a"},
		{"ten is more than nine", []file{{"slot-a", 9}, {"slot-b+3", 10}}, "slot-b+3"},
		{"blessed by dropping the counter", []file{{"slot-a", 2}, {"slot-b", 3}}, "slot-b"},
		{"both used up: the bad one stays preferred", []file{{"slot-a+0-5", 2}, {"slot-b+0-3", 3}}, "slot-b+0-3"},
		{"only one, used up", []file{{"slot-a+0-5", 2}}, "slot-a+0-5"},
		{"only one", []file{{"slot-b", 1}}, "slot-b"},
		{"fallback counted, preferred used up", []file{{"slot-a+2-3", 2}, {"slot-b+0-3", 3}}, "slot-a+2-3"},
		{"equal generations", []file{{"slot-a", 2}, {"slot-b", 2}}, "slot-b"},
		{"equal generations, one used up", []file{{"slot-a", 2}, {"slot-b+0-1", 2}}, "slot-a"},
		{"left by an interrupted rename", []file{{"slot-a+4-1", 2}, {"slot-a+5", 2}, {"slot-b", 1}}, "slot-a+5"},
		{"fewer done first", []file{{"slot-a+4-2", 2}, {"slot-a+4-1", 2}}, "slot-a+4-1"},
	} {
		var entries []Entry
		for _, f := range c.files {
			entries = append(entries, at(t, f.name, f.generation))
		}
		for range 2 {
			got, ok := Choose(entries)
			if !ok || got.FileName() != c.want+".conf" {
				t.Errorf("%s: chose %s, want %s", c.name, got.FileName(), c.want)
			}
			slices.Reverse(entries)
		}
	}
	if _, ok := Choose(nil); ok {
		t.Error("chose from nothing")
	}
}

// The counter rule: whatever the loader does to a node that keeps the rule, a
// slot that boots is reached, in at most the number of tries.
func TestCounterRuleReachesAGoodSlot(t *testing.T) {
	for _, tries := range []int{TrialTries, FullTries} {
		for _, preferred := range []Name{A, B} {
			entries := []Entry{testEntry(preferred, 9).WithTries(tries), testEntry(preferred.Other(), 8)}
			boots := 0
			for e, _ := Choose(entries); e.Slot == preferred; e, _ = Choose(entries) {
				boots++
				entries[0].TriesLeft--
				entries[0].TriesDone++
			}
			if boots != tries {
				t.Errorf("a bad slot %s with %d tries was booted %d times", preferred, tries, boots)
			}
			if !entries[0].Bad() || entries[1].Bad() {
				t.Errorf("after the tries: %+v", entries)
			}
		}
	}
}

func makeESP(t *testing.T, files ...file) string {
	t.Helper()
	esp := t.TempDir()
	if err := os.MkdirAll(filepath.Join(esp, EntriesDir), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		write(t, esp, f.name+".conf", string(at(t, f.name, f.generation).Body()))
	}
	return esp
}

func write(t *testing.T, esp, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(esp, EntriesDir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, esp string) []string {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(esp, EntriesDir))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		out = append(out, strings.TrimSuffix(f.Name(), ".conf"))
	}
	return out
}

func TestRearm(t *testing.T) {
	for _, c := range []struct {
		name    string
		files   []file
		running Name
		armed   bool
		want    []string
	}{
		{"preferred, counted by the loader", []file{{"slot-a+4-1", 2}, {"slot-b", 1}}, A, true, []string{"slot-a+5-1", "slot-b"}},
		{"and counted again", []file{{"slot-a+4-2", 2}, {"slot-b", 1}}, A, true, []string{"slot-a+5", "slot-b"}},
		{"preferred, last try", []file{{"slot-a+0-3", 2}, {"slot-b", 1}}, A, true, []string{"slot-a+5", "slot-b"}},
		{"already full", []file{{"slot-a+5", 2}, {"slot-b", 1}}, A, true, []string{"slot-a+5", "slot-b"}},
		{"trial succeeded: the old one becomes the fallback", []file{{"slot-a+5", 2}, {"slot-b+2-1", 3}}, B, true, []string{"slot-a", "slot-b+5"}},
		{"preferred lost its counter", []file{{"slot-a", 2}, {"slot-b", 1}}, A, true, []string{"slot-a+5", "slot-b"}},
		{"fallback found bad earlier stays bad", []file{{"slot-a+0-5", 2}, {"slot-b+2-1", 3}}, B, true, []string{"slot-a+0-5", "slot-b"}},
		{"running the fallback", []file{{"slot-a", 2}, {"slot-b+0-3", 3}}, A, false, []string{"slot-a", "slot-b+0-3"}},
		{"running a counted fallback", []file{{"slot-a+3-2", 2}, {"slot-b+0-3", 3}}, A, false, []string{"slot-a", "slot-b+0-3"}},
		{"running a fallback without tries", []file{{"slot-a+0-5", 2}, {"slot-b+0-3", 3}}, A, false, []string{"slot-a", "slot-b+0-3"}},
		{"running the fallback by hand", []file{{"slot-a", 2}, {"slot-b+3", 3}}, A, false, []string{"slot-a", "slot-b+3"}},
		{"other slot being written", []file{{"slot-a+4-1", 2}}, A, true, []string{"slot-a"}},
		{"two files after an interrupted rename", []file{{"slot-a+4-1", 2}, {"slot-a+5", 2}, {"slot-b", 1}}, A, true, []string{"slot-a+5-1", "slot-b"}},
		{"two files, the other way round", []file{{"slot-a+4-2", 2}, {"slot-a+5-1", 2}, {"slot-b", 1}}, A, true, []string{"slot-a+5-2", "slot-b"}},
		{"full counter is the older file", []file{{"slot-a+5", 2}, {"slot-a+2-1", 4}, {"slot-b", 3}}, A, true, []string{"slot-a+5", "slot-b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			esp := makeESP(t, c.files...)
			newest, _ := Preferred(list(t, esp))
			write(t, esp, ".slot-"+string(c.running)+"+5.conf.tmp123", "part of an entr")
			for range 2 { // the second time there is nothing to do
				armed, err := Rearm(esp, c.running)
				if err != nil || armed != c.armed {
					t.Errorf("Rearm = %v, %v; want %v", armed, err, c.armed)
				}
				if diff := cmp.Diff(c.want, names(t, esp)); diff != "" {
					t.Errorf("files (-want +got):\n%s", diff)
				}
			}
			if got, _ := Preferred(list(t, esp)); got.Generation != newest.Generation {
				t.Errorf("preferred generation was %d, is %d", newest.Generation, got.Generation)
			}
		})
	}
}

func list(t *testing.T, esp string) []Entry {
	t.Helper()
	entries, err := List(esp)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func TestListReportsDamagedEntries(t *testing.T) {
	esp := makeESP(t, file{"slot-b", 1}, file{"slot-a+5", 2})
	write(t, esp, "slot-a+4-1.conf", "title x")
	write(t, esp, "readme.txt", "")
	entries, err := List(esp)
	if err == nil || !strings.Contains(err.Error(), "slot-a+4-1.conf") {
		t.Errorf("error %v", err)
	}
	if len(entries) != 2 || entries[0].Slot != A || entries[1].Slot != B {
		t.Errorf("entries %+v", entries)
	}
	if armed, err := Rearm(esp, A); !armed || err != nil {
		t.Errorf("Rearm beside a damaged file = %v, %v", armed, err)
	}
	if diff := cmp.Diff([]string{"readme.txt", "slot-a+5-1", "slot-b"}, names(t, esp)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// What a damaged FAT can make of an entry's file does not keep the slots from
// being read and put in order.
func TestDamagedFilesOfEntries(t *testing.T) {
	esp := makeESP(t, file{"slot-b", 1}, file{"slot-a+4-1", 2})
	const huge, dir = "slot-a+2.conf", "slot-a+1.conf"
	write(t, esp, huge, "title x\n")
	if err := os.Truncate(filepath.Join(esp, EntriesDir, huge), 8<<40); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(esp, EntriesDir, dir, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	entries, err := List(esp)
	if err == nil || !strings.Contains(err.Error(), huge) || !strings.Contains(err.Error(), dir) || len(entries) != 2 {
		t.Errorf("error %v, entries %+v", err, entries)
	}
	if armed, err := Rearm(esp, A); !armed || err != nil {
		t.Errorf("Rearm = %v, %v", armed, err)
	}
	if diff := cmp.Diff([]string{"slot-a+5-1", "slot-b"}, names(t, esp)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// Another slot that cannot be read now may be there all the same; or it has just
// been written when the power failed.
func TestRearmBesideAnUnreadableSlot(t *testing.T) {
	for have, want := range map[string]string{"slot-a+4-1": "slot-a+5-1", "slot-a": "slot-a"} {
		esp := makeESP(t, file{have, 2})
		write(t, esp, "slot-b+3.conf", "")
		if armed, err := Rearm(esp, A); !armed || err != nil {
			t.Errorf("Rearm = %v, %v", armed, err)
		}
		if diff := cmp.Diff([]string{want, "slot-b+3"}, names(t, esp)); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
	}
}

func TestRearmWithoutEntries(t *testing.T) {
	if _, err := Rearm(makeESP(t), A); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, err := Rearm(t.TempDir(), A); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: error %v", err)
	}
}

func TestPutAndDrop(t *testing.T) {
	esp := makeESP(t, file{"slot-a+5", 2}, file{"slot-b+0-3", 1})
	if err := Drop(esp, B); err != nil {
		t.Fatal(err)
	}
	entries := list(t, esp)
	if next := NextGeneration(entries); next != 3 || NextGeneration(nil) != 1 {
		t.Errorf("next generation %d", next)
	}
	if err := Put(esp, testEntry(B, 3).WithTries(TrialTries)); err != nil {
		t.Fatal(err)
	}
	if err := Put(esp, testEntry(A, 2)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"slot-a", "slot-b+3"}, names(t, esp)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	bad := testEntry(A, 4)
	bad.Options = "root=/dev/sda1"
	if err := Put(esp, bad); err == nil {
		t.Error("an entry that boots nothing was written")
	}
}
