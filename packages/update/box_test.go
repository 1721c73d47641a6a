package update

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"micromirror/packages/daemon"
	"micromirror/packages/disk"
	"micromirror/packages/fetch"
	"micromirror/packages/health"
	"micromirror/packages/release"
	"micromirror/packages/repository"
	"micromirror/packages/rollout"
	"micromirror/packages/slot"
	"micromirror/packages/verity"
)

// epoch is the time in the tests.
var epoch = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// fleet is the maintainers' side: a repository and a web server.
type fleet struct {
	t    *testing.T
	repo *repository.Repository
	url  string
	// alter, if set, may answer in the server's place.
	mu    sync.Mutex
	alter func(w http.ResponseWriter, r *http.Request) bool
	now   time.Time
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	dir := tempDir(t)
	f := &fleet{t: t, repo: repository.At(dir), now: epoch}
	f.repo.Now = func() time.Time { f.mu.Lock(); defer f.mu.Unlock(); return f.now }
	if err := f.repo.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.url = f.serve(f.repo.Dir)
	return f
}

// serve starts a web server for a copy of the repository.
func (f *fleet) serve(dir string) string {
	files := http.FileServer(http.Dir(dir))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		alter := f.alter
		f.mu.Unlock()
		if alter == nil || !alter(w, r) {
			files.ServeHTTP(w, r)
		}
	}))
	f.t.Cleanup(s.Close)
	return s.URL + "/"
}

func (f *fleet) attack(alter func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alter = alter
}

// make builds a release, size times as large as usual.
func (f *fleet) make(version string, size int, models ...string) string {
	f.t.Helper()
	dir := tempDir(f.t)
	for name, content := range contents(version, size) {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			f.t.Fatal(err)
		}
	}
	if models == nil {
		models = []string{"qemu"}
	}
	err := release.Write(dir, release.Release{Version: version, Built: built(version), Hardware: models, Options: "ro panic=5",
		Loader: release.Loader{Version: "262"}, Root: release.Root{Verity: verity.Tree{RootHash: strings.Repeat("ab", 32), DataBlocks: 7}}})
	if err != nil {
		f.t.Fatal(err)
	}
	return dir
}

// built is a time that grows with the version, of the form 2026.11.<day>.
func built(version string) time.Time {
	t, err := time.Parse("2006.01.02", version)
	if err != nil {
		panic(err)
	}
	return t
}

// contents are a release's files: like those of the others but for a part.
func contents(version string, size int) map[string][]byte {
	out := map[string][]byte{}
	for name, kib := range map[string]int{release.KernelFile: 40, release.InitrdFile: 30, release.RootFile: 200, release.LoaderFile: 1, release.PermFile: 1} {
		b := make([]byte, size*kib<<10)
		rand.NewChaCha8([32]byte{byte(len(name))}).Read(b)
		rand.NewChaCha8(sha256.Sum256([]byte(version + name))).Read(b[:len(b)/8])
		if name == release.RootFile {
			copy(b, "hsqs")
			binary.LittleEndian.PutUint64(b[40:], uint64(len(b)))
		}
		out[name] = b
	}
	return out
}

func (f *fleet) add(version string) {
	f.t.Helper()
	if _, _, err := f.repo.AddRelease(f.t.Context(), f.make(version, 1)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) decide(r rollout.Rollout) {
	f.t.Helper()
	if _, err := f.repo.SetRollout(f.t.Context(), r); err != nil {
		f.t.Fatal(err)
	}
}

// publish adds a release and opens it to everybody.
func (f *fleet) publish(version string) {
	f.t.Helper()
	f.add(version)
	f.decide(rollout.Rollout{Version: version, Percent: 100})
}

// failsAt is a fault: the step at a point fails each time.
func failsAt(where string) func(ctx context.Context, point string) error {
	return func(_ context.Context, point string) error {
		if point == where {
			return errors.New("ordered by a test")
		}
		return nil
	}
}

// tempDir is in memory where that is possible: flushing a busy disk takes long.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "update-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// directory is an ESP that is always writable.
type directory string

func (d directory) Path() string                      { return string(d) }
func (d directory) Change(f func(string) error) error { return f(string(d)) }

// box is a simulated node: a loader, a gate, and an Updater on real directories.
type box struct {
	t     *testing.T
	fleet *fleet
	name  string
	esp   directory
	parts map[slot.Name]string
	perm  string
	disk  disk.GUID
	bases []string
	size  map[string]int // of releases that are larger than usual

	// health judges a release with the configuration that is on the node; dead
	// says that a release does not even start.
	health func(version string, config []byte) error
	dead   func(version string) bool
	// torn says that the power is cut while the loader counts, which costs the entry.
	torn func(version string) bool
	// works says whether the network works with a node file.
	works func(config []byte) error
	fault func(ctx context.Context, point string) error
	// ends, if set, hears of each start of the program how to kill it.
	ends   func(kill func())
	killed bool
	now    time.Time
	synced bool
	timing Timing
	window Window

	console  lockedBuffer
	boots    int
	rebooted bool
	version  string
	slot     slot.Name
	u        *Updater
	ctx      context.Context
	stop     context.CancelFunc
	gate     sync.WaitGroup
	restarts int
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
func (l *lockedBuffer) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// newBox is a node that was flashed with a release, which is in slot a.
func (f *fleet) newBox(name, version string) *box {
	f.t.Helper()
	b := &box{t: f.t, fleet: f, name: name, esp: directory(tempDir(f.t)), perm: tempDir(f.t), disk: disk.GUID{1}, bases: []string{f.url},
		size: map[string]int{}, now: epoch, synced: true, timing: Timing{Step: time.Minute, Drain: time.Minute, Grace: 20 * time.Millisecond}}
	b.health = func(string, []byte) error { return nil }
	b.dead = func(string) bool { return false }
	b.torn = func(string) bool { return false }
	b.works = func([]byte) error { return nil }
	parts := tempDir(f.t)
	b.parts = map[slot.Name]string{slot.A: filepath.Join(parts, "sda2"), slot.B: filepath.Join(parts, "sda3")}
	for _, part := range b.parts {
		if err := os.WriteFile(part, make([]byte, 1<<20), 0o644); err != nil {
			f.t.Fatal(err)
		}
	}
	dir := f.make(version, 1)
	rel, err := release.Read(dir)
	if err != nil {
		f.t.Fatal(err)
	}
	files := contents(version, 1)
	root, err := os.OpenFile(b.parts[slot.A], os.O_RDWR, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	_, err = root.WriteAt(files[release.RootFile], 0)
	err = errors.Join(err, root.Close(), os.MkdirAll(filepath.Join(string(b.esp), slot.EntriesDir), 0o755), os.MkdirAll(filepath.Join(string(b.esp), "slot-a"), 0o755),
		os.WriteFile(filepath.Join(string(b.esp), "slot-a", release.KernelFile), files[release.KernelFile], 0o644),
		os.WriteFile(filepath.Join(string(b.esp), "slot-a", release.InitrdFile), files[release.InitrdFile], 0o644),
		slot.Put(string(b.esp), slot.New(slot.A, 1, rel, b.disk).WithTries(slot.FullTries)),
		os.MkdirAll(b.nodeDir(), 0o755), os.MkdirAll(b.state(), 0o755))
	if err != nil {
		f.t.Fatal(err)
	}
	b.write("node.json", nodeFile(name))
	b.write("fleet.json", f.file("noc@example.net"))
	root1, err := os.ReadFile(f.repo.Root)
	if err != nil {
		f.t.Fatal(err)
	}
	b.write("root.json", string(root1))
	f.t.Cleanup(func() { b.end() })
	return b
}

func nodeFile(name string) string {
	return fmt.Sprintf(`{"name":%q,"hardware":"qemu","addresses":["dhcp"],"projects":["debian"]}`, name)
}

func (f *fleet) file(contact string) string {
	return fmt.Sprintf(`{"domain":"example.net","upstream":"rsync.example.net","contact":%q,"update":{"urls":[%q]}}`, contact, f.url)
}

func (b *box) nodeDir() string { return filepath.Join(b.perm, "node") }
func (b *box) state() string   { return filepath.Join(b.perm, "state", "updated") }

func (b *box) write(name, content string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.nodeDir(), name), []byte(content), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) read(name string) string {
	content, err := os.ReadFile(filepath.Join(b.nodeDir(), name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.t.Fatal(err)
	}
	return string(content)
}

// load is what firmware, loader and initramfs do: it takes a try, and finds only
// what is complete. It returns false if the release does not start.
func (b *box) load() bool {
	b.t.Helper()
	entries, _ := slot.List(string(b.esp))
	e, ok := slot.Choose(entries)
	if !ok {
		b.t.Fatal("nothing to boot")
	}
	if e.Counted && e.TriesLeft > 0 {
		counted := e
		counted.TriesLeft, counted.TriesDone = e.TriesLeft-1, e.TriesDone+1
		dir := filepath.Join(string(b.esp), slot.EntriesDir)
		if err := os.Rename(filepath.Join(dir, e.FileName()), filepath.Join(dir, counted.FileName())); err != nil {
			b.t.Fatal(err)
		}
		if b.torn(e.Release) {
			if err := os.Remove(filepath.Join(dir, counted.FileName())); err != nil {
				b.t.Fatal(err)
			}
			return false
		}
	}
	b.boots++
	b.version, b.slot = e.Release, e.Slot
	b.whole(e)
	return !b.dead(e.Release)
}

// whole fails the test if a slot that has an entry is not complete.
func (b *box) whole(e slot.Entry) {
	b.t.Helper()
	want := contents(e.Release, max(1, b.size[e.Release]))
	root, err := os.ReadFile(b.parts[e.Slot])
	if err != nil || !bytes.HasPrefix(root, want[release.RootFile]) {
		b.t.Errorf("%s: the root file system of slot %s is not that of %s: %v", b.name, e.Slot, e.Release, err)
	}
	for _, name := range []string{release.KernelFile, release.InitrdFile} {
		got, err := os.ReadFile(filepath.Join(string(b.esp), e.Slot.Dir(), name))
		if err != nil || !bytes.Equal(got, want[name]) {
			b.t.Errorf("%s: %s of slot %s is not that of %s: %v", b.name, name, e.Slot, e.Release, err)
		}
	}
}

// boot starts the node, again and again if need be, until a release runs.
func (b *box) boot() {
	b.t.Helper()
	for range 20 {
		b.end()
		if b.load() {
			b.start()
			if !b.rebooted {
				return
			}
		}
	}
	b.t.Fatalf("%s: does not come up, console:\n%s", b.name, b.console.String())
}

// start is updated's start: it resumes, and the gate judges.
func (b *box) start() {
	b.t.Helper()
	b.end()
	b.rebooted = false
	ctx, cancel := context.WithCancel(b.t.Context())
	b.stop = cancel
	b.killed = false
	if b.ends != nil {
		b.ends(func() { b.killed = true; cancel() })
	}
	root := b.read("root.json")
	log := daemon.NewLog("updated", io.Discard, &b.console)
	u := &Updater{
		Self:  Self{Name: b.name, Hardware: "qemu", Version: b.version, Built: built(b.version), Slot: b.slot, Boot: fmt.Sprint(b.boots)},
		State: b.state(), Status: filepath.Join(b.perm, "run", "update.json"),
		Channel: &Channel{Bases: b.bases, Root: []byte(root), Dir: filepath.Join(b.state(), "tuf"), Limit: time.Minute},
		Clock:   func() (time.Time, bool) { return b.now, b.synced },
		ESP:     b.esp, Disk: b.disk, Window: b.window,
		Root:  func(n slot.Name) (string, error) { return b.parts[n], nil },
		Drain: func(context.Context) error { return nil },
		Reboot: func(context.Context) error {
			b.rebooted = true
			return nil
		},
		Config: &Configuration{Dir: b.nodeDir(), Watch: []string{"gateway"}, Trial: b.trial(), Stable: time.Millisecond},
		Fault:  b.fault, Timing: b.timing, Log: log,
	}
	u.Config.Works = func() error { return b.works([]byte(b.read("node.json"))) }
	u.Config.Restart = func() error {
		b.restarts++
		u.Config.Trial = b.trial()
		return nil
	}
	f := fetch.New(fetch.Config{Minimum: 100_000, Patience: 200 * time.Millisecond})
	u.Fetch, u.Channel.Get = f.File, f.Get
	b.u = u
	b.ctx = ctx
	u.Resume(ctx)
	if b.killed { // with the machine, as by a power cut
		b.rebooted = true
		return
	}
	b.judge(ctx)
}

// judge is the gate of package supervise in short, and what runs it.
func (b *box) judge(ctx context.Context) {
	why := b.health(b.version, []byte(b.read("fleet.json")+b.read("node.json")))
	if why == nil {
		why = b.u.Stuck(ctx)
	}
	if why != nil {
		b.u.GiveUp(why.Error())
		b.rebooted = true
		return
	}
	b.u.Told(b.report())
	if _, err := slot.Rearm(string(b.esp), b.slot); err != nil {
		b.t.Fatal(err)
	}
	b.u.Blessed()
	b.gate.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				b.u.Told(b.report())
			}
		}
	})
}

// trial is how long a configuration is watched: one that costs the node something
// for all of that time, a good one until it is found well, however slow the
// computer is.
func (b *box) trial() time.Duration {
	config, err := os.ReadFile(filepath.Join(b.nodeDir(), "fleet.json"))
	if err == nil && (bytes.Contains(config, []byte("unplugged")) || bytes.Contains(config, []byte("nameless"))) {
		return time.Second
	}
	if b.works([]byte(b.read("node.json"))) != nil {
		return time.Second
	}
	return time.Minute
}

// report is a health report: a configuration can cost the node its gateway, a
// release its health.
func (b *box) report() health.Report {
	config, err := os.ReadFile(filepath.Join(b.nodeDir(), "fleet.json"))
	r := health.Report{Healthy: true, Checks: []health.Outcome{{Name: "gateway", Status: health.OK}}}
	if err == nil && bytes.Contains(config, []byte("unplugged")) {
		r.Checks[0] = health.Outcome{Name: "gateway", Status: health.Warn, Reason: "no answer"}
	}
	return r
}

// end is the death of the process.
func (b *box) end() {
	if b.stop != nil {
		b.stop()
		b.gate.Wait()
		b.stop = nil
	}
}

// step lets the updater do what is due, and reboots or restarts it as the node
// would.
func (b *box) step() {
	b.t.Helper()
	_, err := b.u.Step(b.ctx)
	switch {
	case b.killed || b.rebooted || b.u.Stuck(b.t.Context()) != nil:
		b.boot()
	case errors.Is(err, ErrRestart):
		b.start()
	case err != nil:
		b.t.Fatal(err)
	}
}

// settle steps until nothing more happens.
func (b *box) settle() {
	b.t.Helper()
	for range 8 {
		b.step()
	}
}

func (b *box) problem() string { return b.u.status().Error }

func (b *box) saved() Saved {
	b.t.Helper()
	s, err := Load(filepath.Join(b.state(), "update.json"))
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// runs checks which release runs, and that both slots are in order.
func (b *box) runs(version string) {
	b.t.Helper()
	if b.version != version {
		b.t.Errorf("%s runs %s, want %s; console:\n%s", b.name, b.version, version, b.console.String())
	}
	entries, err := slot.List(string(b.esp))
	if err != nil {
		b.t.Error(err)
	}
	for _, e := range entries {
		b.whole(e)
	}
	var status Status
	content, err := os.ReadFile(filepath.Join(b.perm, "run", "update.json"))
	if err == nil {
		err = json.Unmarshal(content, &status)
	}
	if err != nil || status.Version != version {
		b.t.Errorf("status %s: %v", content, err)
	}
}
