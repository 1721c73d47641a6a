package vm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// peer answers a QMP client: answers maps a command to its reply, with %d for the id.
func peer(t *testing.T, answers map[string]string) *qmp {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		fmt.Fprintln(theirs, `{"QMP": {"version": {}, "capabilities": []}}`)
		buf := make([]byte, 4096)
		for id := 1; ; id++ {
			n, err := theirs.Read(buf)
			if err != nil {
				return
			}
			for command, answer := range answers {
				if bytes.Contains(buf[:n], []byte(`"`+command+`"`)) {
					fmt.Fprintln(theirs, strings.ReplaceAll(answer, "%d", fmt.Sprint(id)))
				}
			}
		}
	}()
	t.Cleanup(func() { ours.Close() })
	return newQMP(ours, 1, time.Now())
}

func TestQMP(t *testing.T) {
	q := peer(t, map[string]string{
		"qmp_capabilities": `{"return": {}, "id": %d}`,
		"query-status":     `{"event": "RESET", "data": {"guest": true}} {"id": %d, "return": {"running": true}}`,
		"bad":              `{"id": %d, "error": {"class": "GenericError", "desc": "no such thing"}}`,
		"die":              `}`,
	})
	ctx := t.Context()
	if err := q.hello(ctx); err != nil {
		t.Fatal(err)
	}
	var state struct{ Running bool }
	if err := q.do(ctx, "query-status", nil, &state); err != nil || !state.Running {
		t.Errorf("query-status: %+v, %v", state, err)
	}
	if e, err := q.wait(ctx, "RESET", 1); err != nil || string(e.Data) != `{"guest": true}` {
		t.Errorf("event %+v, %v", e, err)
	}
	if err := q.do(ctx, "bad", nil, nil); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("error = %v", err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := q.do(gone, "unanswered", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want that the context ended", err)
	}
	if err := q.do(ctx, "die", nil, nil); !errors.Is(err, errQMPClosed) {
		t.Errorf("error = %v, want a closed connection", err)
	}
	if _, err := q.wait(ctx, "RESET", 2); !errors.Is(err, errQMPClosed) {
		t.Errorf("error = %v, want a closed connection", err)
	}
}

func TestForwards(t *testing.T) {
	table := "Hub -1 (net0):\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n" +
		"  TCP[HOST_FORWARD]  15       127.0.0.1 40123       10.0.2.15   873     0     0\n" +
		"  TCP[HOST_FORWARD]  14       127.0.0.1 35000       10.0.2.15    80     0     0\n" +
		"  TCP[ESTABLISHED]   16       127.0.0.1 35000       10.0.2.15    80     0     0\n"
	if diff := cmp.Diff(map[int]int{873: 40123, 80: 35000}, forwards(table)); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		name    string
		cfg     Config
		accel   Accel
		want    []string
		without []string
	}{
		{name: "usual", cfg: Config{Disk: "/d,isk"}, accel: TCG,
			want:    []string{"tcg,thread=multi", "max,avx=off,avx2=off,", "-smp 2 ", "file=/d,,isk", "i6300esb", "1024", "hostfwd=tcp:127.0.0.1:0-:873"},
			without: []string{"-no-reboot", "-rtc", "blklogwrites"}},
		{name: "one processor", cfg: Config{Disk: "d", CPUs: 1}, want: []string{"-smp 1 "}},
		{name: "kvm, old cpu", cfg: Config{Disk: "d", MissingCPU: NotOnJaguar()}, accel: KVM, want: []string{"kvm", "host,avx2=off,bmi2=off,fma=off"}},
		{name: "iTCO", cfg: Config{Disk: "d", Watchdog: ITCO}, want: []string{"ICH9-LPC.noreboot=false"}, without: []string{"i6300esb"}},
		{name: "no watchdog", cfg: Config{Disk: "d", Watchdog: NoWatchdog}, without: []string{"i6300esb", "noreboot", "-action"}},
		{name: "log of writes", cfg: Config{Disk: "d", LogWrites: "/log"}, want: []string{"driver=blklogwrites", "filename=/log"}},
		{name: "offline", cfg: Config{Disk: "d", Offline: true}, want: []string{"hubport"}, without: []string{"hostfwd"}},
		{name: "clock", cfg: Config{Disk: "d", Clock: time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC), NoReboot: true},
			want: []string{"base=2001-02-03T04:05:06", "-no-reboot"}},
		{name: "more", cfg: Config{Disk: "d", Disks: []string{"e"}, Links: []LinkEnd{{n: 7}}, Extra: []string{"-S"}},
			want: []string{"drive=disk1,bus=ahci.1", "socket,id=net1,fd=4", "mac=52:54:00:6d:6d:07", "-S"}},
	} {
		cfg := c.cfg.withDefaults()
		got := strings.Join(commandLine(cfg, Firmware{"code", "vars"}, "myvars", c.accel, cfg.Ports, []int{4}[:len(cfg.Links)]), " ")
		for _, part := range c.want {
			if !strings.Contains(got, part) {
				t.Errorf("%s: no %q in %s", c.name, part, got)
			}
		}
		for _, part := range c.without {
			if strings.Contains(got, part) {
				t.Errorf("%s: %q in %s", c.name, part, got)
			}
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		writes []string
		want   bool
	}{
		{[]string{"xx Bds", "Dxe: starting"}, true},
		{[]string{"noise", "KVM internal", " error. Suberror", "BdsDxe:"}, false},
	} {
		v := newVerdict("BdsDxe:", "KVM internal error")
		for _, w := range c.writes {
			v.Write([]byte(w))
		}
		if got := <-v.result; got != c.want {
			t.Errorf("%q: %v, want %v", c.writes, got, c.want)
		}
	}
}

// testDisk makes a disk of 64 MiB whose GPT has an ESP at 1 MiB, 40 MiB long, and a
// root A behind it. The table is at both ends.
func testDisk(t *testing.T) Disk {
	t.Helper()
	const size, mib = 64 << 20, 1 << 20
	d := Disk{filepath.Join(t.TempDir(), "disk,1.raw")}
	if err := errors.Join(os.WriteFile(d.Path, nil, 0o644), os.Truncate(d.Path, size)); err != nil {
		t.Fatal(err)
	}
	le, entries := binary.LittleEndian, make([]byte, 5*128)
	for i, e := range [][2]uint64{{1 * mib, 41*mib - 1}, {41 * mib, 42*mib - 1}} {
		le.PutUint64(entries[128*i+32:], e[0]/sector)
		le.PutUint64(entries[128*i+40:], e[1]/sector)
	}
	for _, at := range []struct{ header, table int64 }{{sector, 2 * sector}, {size - sector, size - 33*sector}} {
		h := make([]byte, 92)
		copy(h, "EFI PART")
		le.PutUint64(h[72:], uint64(at.table/sector))
		le.PutUint32(h[80:], 5)
		le.PutUint32(h[84:], 128)
		if err := errors.Join(d.WriteRaw(at.header, h), d.WriteRaw(at.table, entries)); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestDiskPartitions(t *testing.T) {
	d := testDisk(t)
	for _, broken := range []bool{false, true} {
		if broken {
			if err := d.WriteRaw(sector, make([]byte, sector)); err != nil {
				t.Fatal(err)
			}
		}
		if e, err := d.Extent(RootA); err != nil || e != (Extent{41 << 20, 1 << 20}) {
			t.Errorf("primary broken %v: root A at %+v, %v", broken, e, err)
		}
		for _, p := range []Partition{Perm, 0, 6} {
			if _, err := d.Extent(p); err == nil {
				t.Errorf("partition %d was found", p)
			}
		}
	}
	if err := errors.Join(d.WriteAt(RootA, 5, []byte("hello")), d.FlipBit(RootA, 5), d.Scramble(RootA, 100, 50)); err != nil {
		t.Fatal(err)
	}
	if b, err := d.ReadAt(RootA, 5, 6); err != nil || string(b) != "iello\x00" {
		t.Errorf("read %q, %v", b, err)
	}
	if b, err := d.ReadAt(RootA, 100, 50); err != nil || bytes.Count(b, []byte{0}) > 10 {
		t.Errorf("scrambled bytes are %x, %v", b, err)
	}
	if err := d.WriteAt(RootA, 1<<20-4, []byte("hello")); err == nil {
		t.Error("a write beyond the partition's end succeeded")
	}
	if _, err := d.ReadAt(RootA, 1<<20-4, 5); err == nil {
		t.Error("a read beyond the partition's end succeeded")
	}
}

func TestDiskESP(t *testing.T) {
	d := Disk{strings.ReplaceAll(testDisk(t).Path, ",", ",")}
	if _, err := run("", "mformat", "-i", d.Path+"@@1048576", "-F", "-T", "81920", "-v", "ESP", "::"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.mtool("", "mmd", "::loader", "::loader/entries"); err != nil {
		t.Fatal(err)
	}
	const dir, long = "loader/entries", "loader/entries/slot-a+5.conf"
	if err := errors.Join(d.ESPWrite(long, []byte("title one\n")), d.ESPWrite(long, []byte("title two\n")), d.ESPRename(long, dir+"/slot-a+4-1.conf"),
		d.ESPWrite(dir+"/gone.conf", nil), d.ESPRemove(dir+"/gone.conf"), d.ESPWrite("loader/loader.conf", []byte("timeout 0\n"))); err != nil {
		t.Fatal(err)
	}
	names, err := d.ESPList(dir)
	if diff := cmp.Diff([]string{"slot-a+4-1.conf"}, names); diff != "" || err != nil {
		t.Errorf("entries: %v (-want +got):\n%s", err, diff)
	}
	if names, err := d.ESPList("loader"); err != nil || !slices.Equal(names, []string{"entries/", "loader.conf"}) {
		t.Errorf("loader: %q, %v", names, err)
	}
	if b, err := d.ESPRead(dir + "/slot-a+4-1.conf"); err != nil || string(b) != "title two\n" {
		t.Errorf("content %q, %v", b, err)
	}
	if err := errors.Join(d.ESPTruncate("loader/loader.conf", 4), d.ESPScramble(dir+"/slot-a+4-1.conf")); err != nil {
		t.Fatal(err)
	}
	if b, err := d.ESPRead("loader/loader.conf"); err != nil || string(b) != "time" {
		t.Errorf("truncated content %q, %v", b, err)
	}
	if b, err := d.ESPRead(dir + "/slot-a+4-1.conf"); err != nil || len(b) != 10 || string(b) == "title two\n" {
		t.Errorf("scrambled content %q, %v", b, err)
	}
	if _, err := d.ESPRead("no/such/file"); err == nil {
		t.Error("a missing file was read")
	}
}

func TestCopySparse(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	d := Disk{from}
	if err := errors.Join(os.WriteFile(from, []byte("start"), 0o644), os.Truncate(from, 1<<40), d.WriteRaw(1<<39, []byte("middle"))); err != nil {
		t.Fatal(err)
	}
	if err := CopySparse(from, to, 2<<40); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(to, &st); err != nil || st.Size != 2<<40 || st.Blocks*512 > 1<<20 {
		t.Errorf("copy has %d bytes, %d on disk, %v", st.Size, st.Blocks*512, err)
	}
	f, err := os.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 6)
	if _, err := f.ReadAt(b, 1<<39); err != nil || string(b) != "middle" {
		t.Errorf("middle is %q, %v", b, err)
	}
	if err := CopySparse(from, to, 5); err == nil {
		t.Error("a copy smaller than its image was made")
	}
	if err := CopySparse(filepath.Join(dir, "missing"), to, 0); err == nil {
		t.Error("a missing image was copied")
	}
}

func TestSeats(t *testing.T) {
	dir := t.TempDir()
	if _, err := Reserve(t.Context(), dir, maxMachines+1); err == nil {
		t.Error("more machines than may run were reserved")
	}
	one, err := Reserve(t.Context(), dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	both := make(chan error, 1)
	go func() {
		s, err := Reserve(t.Context(), dir, 2)
		if err == nil {
			defer s.Release()
		}
		both <- err
	}()
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Reserve(short, dir, 2); err == nil {
		t.Error("two machines were reserved beside one")
	}
	one.Release()
	if err := <-both; err != nil {
		t.Error(err)
	}
}

func TestFoldersOfTheDeadAreSwept(t *testing.T) {
	dir := t.TempDir()
	alive, lock, err := makeFolder(dir, "Test/some thing")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	dead, deadLock, err := makeFolder(dir, "dead")
	if err != nil {
		t.Fatal(err)
	}
	deadLock.Close() // as when its process dies
	foreign := filepath.Join(dir, "foreign")
	if err := os.Mkdir(foreign, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := sweep(dir); err != nil {
		t.Fatal(err)
	}
	if !exists(alive) || exists(dead) || !exists(foreign) {
		t.Errorf("alive %v, dead %v, foreign %v; want only dead to be gone", exists(alive), exists(dead), exists(foreign))
	}
	if !strings.HasPrefix(filepath.Base(alive), "Test-some-thing-") {
		t.Errorf("folder is called %s", alive)
	}
}

func TestNewRefusesHalfAMachine(t *testing.T) {
	for name, cfg := range map[string]Config{"no name": {Disk: "d"}, "no disk": {Name: "x"}, "two disks": {Name: "x", Disk: "d", Image: "i"}} {
		if m, err := New(t.Context(), t.TempDir(), cfg); err == nil {
			m.Close()
			t.Errorf("%s was accepted", name)
		}
	}
	dir := t.TempDir()
	if _, err := New(t.Context(), dir, Config{Name: "x", Image: "/no/such/image"}); err == nil {
		t.Error("a missing image was accepted")
	}
	left, err := filepath.Glob(filepath.Join(dir, "x-*"))
	if err != nil || left != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
