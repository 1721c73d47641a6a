package earlyboot

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/disk"
	"micromirror/packages/rescue"
)

// Times of a rescue.
const (
	rescueLimit = 2 * time.Hour    // for the work; then the watchdog is left to itself
	settle      = 10 * time.Second // other disks may still be on their way
	rescuePoll  = time.Second
	repeat      = 20 * time.Second // of the last words, which other lines push up
	readPause   = 30 * time.Second // for reading them, if the stick is gone already
)

// withUSB is what may lead to the box's disk or to the stick: also USB's controllers,
// and its mass storage.
var withUSB = regexp.MustCompile(storage.String() + `|^(pci:.*bc0Csc03|usb:.*ic08)`)

// What is said when it is over.
const (
	saidDone    = "DONE: the box has its system again. Pull the stick out now, then the box starts by itself"
	saidNothing = "nothing was written. Send us a photograph of this screen. Pull the stick out, then the box restarts"
	saidBegun   = "the box cannot start from its disk now. Switch it off and on with the stick in, to try again. If it ends like this once more, send us a photograph of this screen"
)

// rescue writes the box's own disk anew from the stick that it was started from. It
// ends in a reboot, when the stick has been pulled out: never by itself, which would
// start it all again.
func (b *boot) rescue(ctx context.Context, node string) error {
	b.drivers = withUSB
	b.log.printf(notice, "rescue: this is the rescue stick of node %s; leave it in, and leave the box on", node)
	work, cancel := context.WithTimeout(ctx, rescueLimit)
	stick, err := b.findStick(work)
	words := saidNothing
	if err == nil {
		b.armWatchdog() // before there are two who feed it
		go keepPinging(work, b.dog)
		words, err = b.rescueFrom(work, stick)
	}
	cancel()
	b.lastWords(ctx, words, err, func() bool { return stick != nil && !there(stick) })
	unix.Sync()
	return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}

func (b *boot) findStick(ctx context.Context) (*disk.Running, error) {
	guid, _, err := disk.ParseRoot(b.cmdline)
	if err != nil {
		return nil, err
	}
	stick, err := b.waitForDisk(ctx, guid)
	if err != nil {
		return nil, fmt.Errorf("the stick that this was started from: %w", err)
	}
	return stick, nil
}

// there says whether the kernel still has a disk.
func there(d *disk.Running) bool {
	_, err := os.Stat(filepath.Join("/sys/block", d.Name))
	return err == nil
}

// rescueFrom does the work, and returns what somebody in front of the box is to do.
func (b *boot) rescueFrom(ctx context.Context, stick *disk.Running) (words string, err error) {
	b.log.printf(notice, "rescue: checking the stick")
	from, size, err := openDisk(stick.Path, os.O_RDONLY)
	if err != nil {
		return saidNothing, err
	}
	defer from.Close()
	s, err := rescue.Open(ctx, from, size)
	if err != nil {
		return saidNothing, err
	}
	b.log.printf(notice, "rescue: the stick is good; looking for the disk of node %s", s.Node)
	own, err := b.findOwn(ctx, s.Node, "/sys", "/dev", stick.Name)
	if err != nil {
		return saidNothing, err
	}
	b.log.printf(notice, "rescue: writing release %s to %s", s.Release, own.name)
	to, size, err := openDisk(own.path, os.O_RDWR|os.O_EXCL)
	if err != nil {
		return saidNothing, err
	}
	defer to.Close()
	if err := s.Write(ctx, medium{to}, size, b.progress()); err != nil {
		return saidBegun, fmt.Errorf("%s: %w", own.name, err)
	}
	return saidDone, nil
}

func openDisk(path string, flags int) (*os.File, int64, error) {
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return nil, 0, err
	}
	size, err := disk.Size(f)
	return f, size, err
}

// progress says each tenth.
func (b *boot) progress() func(done, total int64) {
	said := int64(0)
	return func(done, total int64) {
		if tenth := 10 * done / total; tenth > said {
			said = tenth
			b.log.printf(notice, "rescue: %d %%", 10*tenth)
		}
	}
}

// medium is a disk that is read, after a flush, as it is.
type medium struct{ *os.File }

func (m medium) Sync() error {
	if err := m.File.Sync(); err != nil {
		return err
	}
	return unix.IoctlSetInt(int(m.Fd()), unix.BLKFLSBUF, 0)
}

// candidate is a disk of the box.
type candidate struct{ path, name string }

// findOwn waits for the disk of the node, and then for others that might be it.
func (b *boot) findOwn(ctx context.Context, node, sys, dev, stick string) (candidate, error) {
	ctx, cancel := context.WithTimeout(ctx, diskWait)
	defer cancel()
	var since time.Time
	for {
		b.coldplug()
		disks, seen := candidates(sys, dev, stick)
		i, err := rescue.Choose(node, seen)
		if err != nil {
			since = time.Time{}
		} else if since.IsZero() {
			since = time.Now()
		}
		if err == nil && (time.Since(since) >= settle || ctx.Err() != nil) {
			return disks[i], nil
		}
		if ctx.Err() != nil {
			return candidate{}, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(rescuePoll):
		}
	}
}

// candidates lists the disks with a medium but for the stick, and what is on them.
func candidates(sys, dev, stick string) (disks []candidate, seen []rescue.Seen) {
	all, err := os.ReadDir(filepath.Join(sys, "block"))
	if err != nil {
		return nil, nil // as if there were none
	}
	for _, d := range all {
		dir := filepath.Join(sys, "block", d.Name())
		sectors, _ := strconv.ParseInt(sysText(dir, "size"), 10, 64)
		if _, err := os.Stat(filepath.Join(dir, "device")); err != nil || d.Name() == stick || sectors == 0 {
			continue
		}
		c := candidate{path: filepath.Join(dev, d.Name())}
		c.name = strings.Join(strings.Fields(fmt.Sprintf("%s %s %d GB", d.Name(), sysText(dir, "device/model"), sectors*disk.SectorSize/1e9)), " ")
		s := rescue.Seen{Name: c.name}
		s.Node, s.Err = lookAt(dir, c.path)
		disks, seen = append(disks, c), append(seen, s)
	}
	return disks, seen
}

func lookAt(dir, path string) (node string, err error) {
	if s := sysText(dir, "queue/logical_block_size"); s != strconv.Itoa(disk.SectorSize) {
		return "", fmt.Errorf("has sectors of %s bytes, a node's disk has %d", s, disk.SectorSize)
	}
	f, size, err := openDisk(path, os.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return rescue.Look(f, size)
}

func sysText(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// lastWords says how it ended, again and again, until the stick is gone. After a
// failure there is time to read, even if it is gone already. A stick that was never
// found does not go: somebody will switch the box off.
func (b *boot) lastWords(ctx context.Context, words string, failed error, gone func() bool) {
	level := notice
	if failed != nil {
		level, words = critical, "FAILED: "+oneLine(failed)+"; "+words
	}
	start := time.Now()
	for next := start; ctx.Err() == nil; time.Sleep(rescuePoll) {
		b.dog.ping()
		if !time.Now().Before(next) {
			next = next.Add(repeat)
			b.log.printf(level, "rescue: %s", words)
			b.post(words)
		}
		if gone() && (failed == nil || time.Since(start) >= readPause) {
			b.log.printf(notice, "rescue: the stick is out, rebooting")
			return
		}
	}
}
