package slot

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/disk"
	"micromirror/packages/release"
	"micromirror/packages/verity"
)

func testEntry(n Name, generation uint64) Entry {
	r := &release.Release{Version: "2026.11.21-abc", Options: "gpt ro console=ttyS0"}
	r.Root.Verity = verity.Tree{RootHash: strings.Repeat("5a", 32), DataBlocks: 77}
	return New(n, generation, r, disk.GUID{0: 1, 15: 9})
}

func TestBodyIsWhatTheLoaderReads(t *testing.T) {
	want := `title Micro Mirror 2026.11.21-abc
sort-key mm
version 7
linux /slot-b/vmlinuz
initrd /slot-b/initrd
options root=PARTUUID=00000001-0000-0000-0000-000000000009/PARTNROFF=2 verity=` + strings.Repeat("5a", 32) + `:77 gpt ro console=ttyS0
`
	if diff := cmp.Diff(want, string(testEntry(B, 7).Body())); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestFileNameAndParse(t *testing.T) {
	for _, c := range []struct {
		e    Entry
		want string
	}{
		{testEntry(A, 2), "slot-a.conf"},
		{testEntry(A, 2).WithTries(5), "slot-a+5.conf"},
		{Entry{Slot: A, Counted: true, TriesLeft: 4, TriesDone: 1}, "slot-a+4-1.conf"},
		{Entry{Slot: B, Counted: true, TriesDone: 3}, "slot-b+0-3.conf"},
		{testEntry(B, 1).WithTries(3).WithoutCounter(), "slot-b.conf"},
	} {
		if got := c.e.FileName(); got != c.want {
			t.Errorf("FileName = %q, want %q", got, c.want)
		}
		want := testEntry(c.e.Slot, 12)
		want.Counted, want.TriesLeft, want.TriesDone = c.e.Counted, c.e.TriesLeft, c.e.TriesDone
		got, err := ParseEntry(c.want, want.Body())
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("ParseEntry(%s) (-want +got): %v\n%s", c.want, err, diff)
		}
	}
}

func TestParseEntryKeepsWhatItDoesNotKnow(t *testing.T) {
	want := testEntry(A, 2)
	body := "# a comment\n\nfuture key\n# a comment\nfuture2\n" + strings.ReplaceAll(string(want.Body()), "version ", "version\t  ")
	got, err := ParseEntry("slot-a.conf", []byte(strings.ReplaceAll(body, "\t", "")))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("(-want +got): %v\n%s", err, diff)
	}
}

func TestParseEntryRefuses(t *testing.T) {
	good := string(testEntry(A, 2).Body())
	swap := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for _, c := range []struct{ name, file, body, want string }{
		{"foreign file", "debian.conf", good, "not a slot's name"},
		{"third slot", "slot-c.conf", good, "not a slot's name"},
		{"counter without number", "slot-a+.conf", good, "not a slot's name"},
		{"huge counter", "slot-a+99999.conf", good, "not a slot's name"},
		{"other slot's name", "slot-b.conf", good, `linux is "/slot-a/vmlinuz"`},
		{"empty", "slot-a.conf", "", "damaged content"},
		{"cut", "slot-a.conf", good[:len(good)-1], "damaged content"},
		{"zeros", "slot-a.conf", good + "\x00\n", "damaged content"},
		{"too long", "slot-a.conf", good + strings.Repeat("#\n", maxBody), "damaged content"},
		{"key twice", "slot-a.conf", good + "version 9\n", "is there twice"},
		{"no version", "slot-a.conf", swap("version", "ver"), "not a generation number"},
		{"version not a number", "slot-a.conf", swap("version 2", "version 6.1"), "not a generation number"},
		{"version beyond 64 bits", "slot-a.conf", swap("version 2", "version 99999999999999999999"), "not a generation number"},
		{"version zero", "slot-a.conf", swap("version 2", "version 0"), "not a generation number"},
		{"sort key", "slot-a.conf", swap("sort-key mm", "sort-key a"), "sort-key"},
		{"other root", "slot-a.conf", swap("PARTNROFF=1", "PARTNROFF=2"), "options do not boot slot a"},
		{"no root", "slot-a.conf", swap("root=", "r="), "options do not boot slot a"},
	} {
		if _, err := ParseEntry(c.file, []byte(c.body)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add("slot-a+5-1.conf", testEntry(A, 2).Body())
	f.Add("slot-b.conf", testEntry(B, 1).Body())
	f.Fuzz(func(t *testing.T, file string, body []byte) {
		e, err := ParseEntry(file, body)
		if err != nil {
			return
		}
		// A value cannot hold a line break, so what was read can be written.
		again, err := ParseEntry(e.FileName(), e.Body())
		if diff := cmp.Diff(e, again); err != nil || diff != "" {
			t.Errorf("(-first +second): %v\n%s", err, diff)
		}
	})
}

func TestRunning(t *testing.T) {
	for _, n := range []Name{A, B} {
		if got, err := Running(testEntry(n, 1).Options); err != nil || got != n {
			t.Errorf("Running of slot %s = %q, %v", n, got, err)
		}
		if n.Other() == n || n.Other().Other() != n || n.Partition() == n.Other().Partition() {
			t.Errorf("slot %s: other %s", n, n.Other())
		}
	}
	if got, err := Running("root=/dev/sda2"); err == nil {
		t.Errorf("Running = %q without a slot", got)
	}
}
