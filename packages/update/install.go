package update

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/chunk"
	"micromirror/packages/daemon"
	"micromirror/packages/disk"
	"micromirror/packages/durable"
	"micromirror/packages/fetch"
	"micromirror/packages/release"
	"micromirror/packages/rollout"
	"micromirror/packages/slot"
)

// Bounds and reserves.
const (
	maxDescription = 1 << 20
	permReserve    = 64 << 20
	espReserve     = 1 << 20
	// maxDownload is how long a pass may download; the next one goes on. What was
	// decided meanwhile must be heard.
	maxDownload = time.Hour
)

// download brings a release's files into the state directory. Those that are
// there already, whole or in part, are used.
func (u *Updater) download(ctx context.Context, cat *Catalogue, r *rollout.Rollout) (rel *release.Release, err error) {
	u.enter(Downloading, r.Version)
	err = u.within(ctx, "downloading", min(u.Timing.Step, maxDownload), func(ctx context.Context) error {
		if err := u.fault(ctx, "downloading"); err != nil {
			return err
		}
		described, err := u.describe(ctx, cat, r)
		if err != nil {
			return err
		}
		rel = described
		if err := u.makeRoom(described); err != nil {
			return err
		}
		return u.fetch(ctx, cat, described)
	})
	return rel, err
}

func (u *Updater) dir(version string) string { return filepath.Join(u.State, "download", version) }

func target(version, file string) string { return "releases/" + version + "/" + file }

// travelling are a release's files that a slot consists of.
func travelling(rel *release.Release) []release.File {
	return []release.File{rel.Kernel, rel.Initrd, rel.Root.File}
}

// describe reads what the release consists of and compares it with the signed
// list of files.
func (u *Updater) describe(ctx context.Context, cat *Catalogue, r *rollout.Rollout) (*release.Release, error) {
	b, err := cat.Read(ctx, target(r.Version, release.FileName), maxDescription)
	if err != nil {
		return nil, err
	}
	rel, err := release.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", release.FileName, err)
	}
	if err := suits(rel, r, u.Self); err != nil {
		return nil, err
	}
	for _, f := range travelling(rel) {
		t, ok := cat.Find(target(r.Version, f.Name))
		if !ok || t.Size != f.Size || hex.EncodeToString(t.SHA256[:]) != f.SHA256 {
			return nil, fmt.Errorf("%s: its description and the signed list of files disagree", f.Name)
		}
	}
	if err := os.MkdirAll(u.dir(rel.Version), 0o755); err != nil {
		return nil, err
	}
	return rel, durable.WriteFile(filepath.Join(u.dir(rel.Version), release.FileName), b, 0o644)
}

// makeRoom removes what earlier downloads left and refuses what does not fit.
func (u *Updater) makeRoom(rel *release.Release) error {
	old, err := os.ReadDir(filepath.Join(u.State, "download"))
	if err != nil {
		return err
	}
	for _, d := range old {
		if d.Name() == rel.Version {
			continue
		}
		if err := os.RemoveAll(u.dir(d.Name())); err != nil {
			return err
		}
	}
	need := int64(permReserve)
	for _, f := range travelling(rel) {
		need += f.Size - allocated(filepath.Join(u.dir(rel.Version), f.Name))
	}
	if err := room(u.State, need); err != nil {
		return err
	}
	return u.fits(rel)
}

// fits checks the slot that will be written.
func (u *Updater) fits(rel *release.Release) error {
	root, size, err := u.openRoot(u.Self.Slot.Other())
	if err != nil {
		return err
	}
	root.Close()
	if rel.Root.Size > size {
		return fmt.Errorf("%s has %d bytes, the slot's partition only %d", release.RootFile, rel.Root.Size, size)
	}
	need := rel.Kernel.Size + rel.Initrd.Size + espReserve
	for _, f := range []string{release.KernelFile, release.InitrdFile} {
		need -= allocated(filepath.Join(u.ESP.Path(), u.Self.Slot.Other().Dir(), f))
	}
	err = room(u.ESP.Path(), need)
	if err == nil {
		return nil
	}
	// Perhaps leftovers take the room.
	clean := func(dir string) error { return slot.Clean(dir, u.Self.Slot) }
	if cleaned := u.ESP.Change(clean); cleaned != nil {
		return errors.Join(err, cleaned)
	}
	return room(u.ESP.Path(), need)
}

// allocated is the size of a file, or of what there is of it.
func allocated(file string) int64 {
	var total int64
	for _, name := range []string{file, file + ".part"} {
		var st unix.Stat_t
		if unix.Stat(name, &st) == nil {
			total += st.Blocks * 512
		}
	}
	return total
}

func room(dir string, need int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("free space in %s: %w", dir, err)
	}
	if free := int64(st.Bavail) * st.Bsize; free < need {
		return fmt.Errorf("%d MiB are free in %s, %d are needed", free>>20, dir, need>>20+1)
	}
	return nil
}

func (u *Updater) openRoot(n slot.Name) (*os.File, int64, error) {
	device, err := u.Root(n)
	if err != nil {
		return nil, 0, err
	}
	f, err := os.Open(device)
	if err != nil {
		return nil, 0, err
	}
	size, err := disk.Size(f)
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, size, nil
}

// fetch downloads what is not at hand.
func (u *Updater) fetch(ctx context.Context, cat *Catalogue, rel *release.Release) error {
	var total int64
	var got atomic.Int64
	for _, f := range travelling(rel) {
		total += f.Size
	}
	defer u.progress(rel, total, &got)()
	var sum fetch.Stats
	start := time.Now()
	for _, f := range travelling(rel) {
		stats, err := u.fetchFile(ctx, cat, rel.Version, f.Name, &got)
		if err != nil {
			return err
		}
		sum.Bytes, sum.Reused, sum.Resumed = sum.Bytes+stats.Bytes, sum.Reused+stats.Reused, sum.Resumed+stats.Resumed
		u.Log.Info("downloaded", "file", f.Name, "received", stats.Bytes, "reused", stats.Reused, "resumed", stats.Resumed)
	}
	daemon.Notice(u.Log, fmt.Sprintf("downloading %s: %d of %d MiB", rel.Version, got.Load()>>20, total>>20),
		"received_bytes", sum.Bytes, "reused_bytes", sum.Reused, "resumed_bytes", sum.Resumed, "seconds", int(time.Since(start).Seconds()))
	return nil
}

// progressEvery is how often people hear of a download.
const progressEvery = 30 * time.Second

// progress tells how much is there, until it is stopped.
func (u *Updater) progress(rel *release.Release, total int64, got *atomic.Int64) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	tell := func() {
		daemon.Notice(u.Log, fmt.Sprintf("downloading %s: %d of %d MiB", rel.Version, got.Load()>>20, total>>20))
	}
	tell()
	go func() {
		defer close(done)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				tell()
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (u *Updater) fetchFile(ctx context.Context, cat *Catalogue, version, name string, got *atomic.Int64) (fetch.Stats, error) {
	t, _ := cat.Find(target(version, name)) // describe has seen it
	job := fetch.Job{Bases: u.Channel.Bases, Path: t.Remote, Size: t.Size, SHA256: t.SHA256, Dest: filepath.Join(u.dir(version), name),
		Progress: func(n int64) { got.Add(n) }}
	if path := target(version, name) + chunk.Suffix; has(cat, path) {
		b, err := cat.Read(ctx, path, chunk.MaxEncoded)
		if err != nil {
			return fetch.Stats{}, err
		}
		if job.Index, err = chunk.Parse(b); err != nil {
			return fetch.Stats{}, fmt.Errorf("%s: %w", path, err)
		}
	}
	local, closeAll := u.local(ctx, name)
	defer closeAll()
	job.Local = local
	return u.Fetch(ctx, job)
}

func has(cat *Catalogue, path string) bool {
	_, ok := cat.Find(path)
	return ok
}

// install writes the release into the slot that does not run, and puts it on
// trial.
func (u *Updater) install(ctx context.Context, rel *release.Release, r *rollout.Rollout) error {
	u.mu.Lock()
	healthy := u.report.Healthy
	u.mu.Unlock()
	if !healthy {
		return fmt.Errorf("install %s: waiting for the node to be healthy", rel.Version)
	}
	target := u.Self.Slot.Other()
	device, err := u.Root(target)
	if err != nil {
		return fmt.Errorf("install %s: %w", rel.Version, err)
	}
	entries, _ := slot.List(u.ESP.Path()) // a damaged one is of no generation
	err = u.change(func(s *Saved) {
		if s.Version != rel.Version {
			s.Lost = 0
		}
		s.State, s.Version, s.Slot, s.Generation = Installing, rel.Version, target, slot.NextGeneration(entries)
		s.From, s.Emergency, s.Reason = u.Self.Version, r.Emergency, ""
	})
	if err != nil {
		return err
	}
	u.enter("", "")
	err = u.within(ctx, "installing", u.Timing.Step, func(ctx context.Context) error {
		return u.write(ctx, slot.Installation{Running: u.Self.Slot, RootDevice: device, Disk: u.Disk, Release: rel, Dir: u.dir(rel.Version)})
	})
	if err != nil {
		return err // the state stays: perhaps the entry is there
	}
	daemon.Notice(u.Log, fmt.Sprintf("installed %s in slot %s", rel.Version, target))
	u.due = time.Time{}
	return nil
}

func (u *Updater) write(ctx context.Context, i slot.Installation) error {
	if err := u.fault(ctx, "installing"); err != nil {
		return err
	}
	var e slot.Entry
	err := u.ESP.Change(func(dir string) (err error) {
		i.ESP = dir
		if err := slot.Clean(dir, i.Running); err != nil {
			return err
		}
		e, err = slot.Install(ctx, i)
		return err
	})
	if err != nil {
		return err
	}
	if err := u.fault(ctx, "installed"); err != nil {
		return err
	}
	return u.change(func(s *Saved) { s.State, s.Generation = Waiting, e.Generation })
}
