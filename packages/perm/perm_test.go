package perm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"micromirror/packages/layout"
)

const e2fsck = "/usr/sbin/e2fsck"

// template returns a compressed template, made once.
func template(t *testing.T) []byte {
	t.Helper()
	b, err := onceTemplate()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var onceTemplate = sync.OnceValues(newTemplate)

func newTemplate() ([]byte, error) {
	dir, err := os.MkdirTemp("", "perm")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "perm.ext4.zst")
	if err := Template(context.Background(), path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// partition makes a sparse file of size bytes.
func partition(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "partition")
	if err := errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, size)); err != nil {
		t.Fatal(err)
	}
	return path
}

func made(t *testing.T, size int64) string {
	t.Helper()
	dev := partition(t, size)
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Write(t.Context(), sparseFile{f}, size, bytes.NewReader(template(t))); err != nil {
		t.Fatal(err)
	}
	return dev
}

// sparseFile is an empty file in which zeros need not be written.
type sparseFile struct{ *os.File }

func (f sparseFile) WriteAt(b []byte, off int64) (int, error) {
	if len(bytes.TrimLeft(b, "\x00")) == 0 {
		return len(b), nil
	}
	return f.File.WriteAt(b, off)
}

func (f sparseFile) Sync() error { return nil }

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "/usr/sbin/"+name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func field(t *testing.T, dev, name string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + `:\s+(.*)$`).FindStringSubmatch(tool(t, "dumpe2fs", "-h", dev))
	if m == nil {
		t.Fatalf("dumpe2fs says nothing about %s", name)
	}
	return m[1]
}

func TestTemplateIsReproducibleAndSmall(t *testing.T) {
	a := template(t)
	b, err := newTemplate()
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("two templates differ: %v", err)
	}
	if len(a) > 100<<10 {
		t.Errorf("the template has %d bytes", len(a))
	}
}

func TestRemakeOnALargePartition(t *testing.T) {
	dev := made(t, 2<<40)
	tool(t, "e2fsck", "-fn", dev)
	for name, want := range map[string]string{
		"Filesystem volume name": "perm", "Reserved block count": "0", "Inodes per group": "1024", "Reserved GDT blocks": "1023",
		"Total journal size": "64M", "Errors behavior": "Remount read-only", "Maximum mount count": "-1", "Block size": "4096",
	} {
		if got := field(t, dev, name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if a, b := field(t, dev, "Filesystem UUID"), field(t, made(t, TemplateSize), "Filesystem UUID"); a == b || a == templateUUID {
		t.Errorf("UUIDs of two file systems: %s, %s", a, b)
	}
	if outcome, err := Check(t.Context(), dev, e2fsck, func() {}); outcome != Clean || err != nil {
		t.Errorf("Check = %v, %v", outcome, err)
	}
	if got, err := e2fsprogs(t.Context(), "debugfs", "-R", "cat "+layout.LogTargetFile, dev); got != layout.LogAddress+"\n" || err != nil {
		t.Errorf("services' lines are sent to %q, %v", got, err)
	}
}

func TestRemakeForgetsTheOldFileSystem(t *testing.T) {
	const size = 8 << 30
	dev := partition(t, size)
	if err := mke2fs(t.Context(), dev, size, templateUUID); err != nil {
		t.Fatal(err)
	}
	if err := Remake(t.Context(), dev, bytes.NewReader(template(t))); err != nil {
		t.Fatal(err)
	}
	clearAt(t, dev, 0)
	outcome, err := Check(t.Context(), dev, e2fsck, func() {})
	if outcome != Repaired || err != nil {
		t.Errorf("Check without the first superblock = %v, %v", outcome, err)
	}
	if got := field(t, dev, "Block count"); got != "65536" {
		t.Errorf("repaired to %s blocks, the template has 65536: from an old superblock", got)
	}
	clearAt(t, dev, 0, blocksPerGroup*BlockSize)
	if outcome, err := Check(t.Context(), dev, e2fsck, func() {}); outcome != Bad || err == nil {
		t.Errorf("Check without superblocks = %v, %v", outcome, err)
	}
}

// clearAt clears blocks of a partition.
func clearAt(t *testing.T, dev string, offsets ...int64) {
	t.Helper()
	f, err := os.OpenFile(dev, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, off := range offsets {
		if _, err := f.WriteAt(make([]byte, BlockSize), off); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSuperblocksAreWhereExt4HasThem(t *testing.T) {
	const size = 400 << 30
	dev := partition(t, size)
	if err := mke2fs(t.Context(), dev, size, templateUUID); err != nil {
		t.Fatal(err)
	}
	want := []string{}
	for _, m := range regexp.MustCompile(`(?:Primary|Backup) superblock at (\d+)`).FindAllStringSubmatch(tool(t, "dumpe2fs", dev), -1) {
		want = append(want, m[1])
	}
	f, err := os.Open(dev)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := 0
	for at := range superblocks(size) {
		b := make([]byte, BlockSize)
		if _, err := f.ReadAt(b, at); err != nil {
			t.Fatal(err)
		}
		if _, ok := superIn(b, at); !ok {
			t.Errorf("no superblock at %d", at)
		}
		found++
	}
	if found != len(want) || found < 15 {
		t.Errorf("%d superblocks, dumpe2fs lists %d: %v", found, len(want), want)
	}
}

func TestCheckRepairs(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage string // of debugfs
		want   Outcome
	}{
		{"nothing", "stats", Clean},
		{"flagged dirty", "set_super_value state 0", Repaired},
		{"free blocks miscounted", "set_super_value free_blocks_count 5", Repaired},
		{"lost+found overwritten", "clri lost+found", Repaired},
		{"journal inode gone", "clri <8>", Repaired},
		{"root directory gone", "clri <2>", Repaired},
		{"group descriptor wrong", "set_bg 0 inode_table 1", Repaired},
	} {
		t.Run(c.name, func(t *testing.T) {
			dev := made(t, 1<<30)
			tool(t, "debugfs", "-w", "-R", c.damage, dev)
			if c.want == Repaired {
				tool(t, "debugfs", "-w", "-R", "set_super_value state 2", dev) // errors seen: a full check is due
			}
			pings := 0
			outcome, err := Check(t.Context(), dev, e2fsck, func() { pings++ })
			if outcome != c.want || err != nil || pings == 0 {
				t.Errorf("Check = %v, %v after %d pings; want %v", outcome, err, pings, c.want)
			}
			tool(t, "e2fsck", "-fn", dev)
		})
	}
}

// A superblock that cannot even be read: e2fsck gives up, unless it is told of a
// copy.
func TestCheckRepairsBesideAnUnreadableSuperblock(t *testing.T) {
	dev := made(t, 1<<30)
	clearAt(t, dev, 0)
	real, err := exec.LookPath(e2fsck)
	if err != nil {
		t.Fatal(err)
	}
	blind := script(t, `case "$*" in *"-b 32768 -B 4096"*) exec `+real+` "$@";; esac; echo "Input/output error while trying to open"; exit 8`)
	if outcome, err := Check(t.Context(), dev, blind, func() {}); outcome != Repaired || err != nil {
		t.Errorf("Check = %v, %v; want it repaired", outcome, err)
	}
	tool(t, "e2fsck", "-fn", dev)
	dead := script(t, `echo "Input/output error"; exit 8`)
	if outcome, err := Check(t.Context(), dev, dead, func() {}); outcome != Bad || errors.Is(err, ErrBeyondRepair) || !strings.Contains(err.Error(), "by the copy") {
		t.Errorf("Check = %v, %v", outcome, err)
	}
}

// Growing a mounted file system leaves superblock copies that ask for a replay of
// the journal. When the superblock itself is lost, that alone must not cost the
// mirror.
func TestCheckRepairsFromACopyThatNeedsReplay(t *testing.T) {
	dev := made(t, 1<<30)
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const group1, features, needsRecovery, checksum = 32768 * BlockSize, 0x60, 0x4, 0x3fc
	super := make([]byte, 1024)
	if _, err := f.ReadAt(super, group1); err != nil {
		t.Fatal(err)
	}
	super[features] |= needsRecovery
	binary.LittleEndian.PutUint32(super[checksum:], ^crc32.Checksum(super[:checksum], crc32.MakeTable(crc32.Castagnoli)))
	if _, err := f.WriteAt(super, group1); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 1024), 1024); err != nil {
		t.Fatal(err)
	}
	if outcome, err := Check(t.Context(), dev, e2fsck, func() {}); outcome != Repaired {
		t.Errorf("Check = %v, %v; want it repaired", outcome, err)
	}
	tool(t, "e2fsck", "-fn", dev)
}

func TestCheckOfGarbageIsBadAndRemakeHelps(t *testing.T) {
	dev := partition(t, 512<<20)
	if err := os.WriteFile(dev, bytes.Repeat([]byte("garbage "), 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(dev, 512<<20); err != nil {
		t.Fatal(err)
	}
	if outcome, err := Check(t.Context(), dev, e2fsck, func() {}); outcome != Bad || err == nil || !strings.Contains(err.Error(), "superblock") {
		t.Errorf("Check = %v, %v", outcome, err)
	}
	if err := Remake(t.Context(), dev, bytes.NewReader(template(t))); err != nil {
		t.Fatal(err)
	}
	if outcome, err := Check(t.Context(), dev, e2fsck, func() {}); outcome != Clean {
		t.Errorf("Check after Remake = %v, %v", outcome, err)
	}
}

// cutFile counts writes and fails after a number of them.
type cutFile struct {
	*os.File
	writes, limit int
}

var errCut = errors.New("power cut")

func (f *cutFile) WriteAt(b []byte, off int64) (int, error) {
	if f.writes == f.limit {
		return 0, errCut
	}
	f.writes++
	return f.File.WriteAt(b, off)
}

func TestInterruptedRemakeIsNeverClean(t *testing.T) {
	packed := template(t)
	dev := made(t, 512<<20)
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	whole := &cutFile{f, 0, -1}
	if err := Write(t.Context(), whole, 512<<20, bytes.NewReader(packed)); err != nil {
		t.Fatal(err)
	}
	total := whole.writes
	for _, limit := range []int{1, 2, 3, 4, 5, total / 2, total - 3, total - 2, total - 1} {
		if err := Write(t.Context(), &cutFile{f, 0, limit}, 512<<20, bytes.NewReader(packed)); !errors.Is(err, errCut) {
			t.Fatalf("cut after %d of %d writes: %v", limit, total, err)
		}
		if outcome, _ := Check(t.Context(), dev, e2fsck, func() {}); outcome == Clean {
			t.Errorf("clean after %d of %d writes", limit, total)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	packed := template(t)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name     string
		ctx      context.Context
		size     int64
		template []byte
		want     string
	}{
		{"partition too small", t.Context(), TemplateSize - 1, packed, "larger than the partition"},
		{"template cut", t.Context(), TemplateSize, packed[:len(packed)/2], "read template"},
		{"template empty", t.Context(), TemplateSize, nil, "no ext4 file system"},
		{"template garbage", t.Context(), TemplateSize, []byte("garbage"), "read template"},
		{"canceled", canceled, TemplateSize, packed, "canceled"},
	} {
		dev := partition(t, c.size)
		err := Remake(c.ctx, dev, bytes.NewReader(c.template))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dev) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
	if err := setUUID(make([]byte, superSize), [16]byte{}); err == nil {
		t.Error("a superblock without checksum seed was given another UUID")
	}
}

// script makes a program that stands in for e2fsck.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "e2fsck")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckJudgesExitCodes(t *testing.T) {
	for _, c := range []struct {
		name, script string
		want         Outcome
		message      string
	}{
		{"clean", "exit 0", Clean, ""},
		{"corrected", "exit 1", Repaired, ""},
		{"corrected, reboot", "exit 3", Repaired, ""},
		{"second pass repairs", `[ $1 = -fy ] && exit 1; exit 4`, Repaired, ""},
		{"second pass finds it clean", `[ $1 = -fy ] && exit 0; exit 8`, Repaired, ""},
		{"uncorrected", "echo this is why; exit 4", Bad, "this is why"},
		{"corrected in part", "exit 5", Bad, "e2fsck -fy: exit status 5"},
		{"killed", "kill -9 $$", Bad, "signal: killed"},
	} {
		outcome, err := Check(t.Context(), "/dev/x", script(t, c.script), func() {})
		if outcome != c.want || (err != nil) != (c.want == Bad) || err != nil && !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %v, %v; want %v, %q", c.name, outcome, err, c.want, c.message)
		}
	}
	if outcome, err := Check(t.Context(), "/dev/x", "/nonexistent/e2fsck", func() {}); outcome != Bad || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no e2fsck: %v, %v", outcome, err)
	}
}

// Only a check that ran to its end may cost the mirror.
func TestBeyondRepairTakesAFullPass(t *testing.T) {
	for body, want := range map[string]bool{
		"exit 4":                        true,
		"exit 5":                        true,
		"[ $1 = -p ] && exit 4; exit 8": false, // operational error
		"exit 12":                       false,
		"exit 16":                       false,
		"kill -9 $$":                    false,
	} {
		_, err := Check(t.Context(), "/dev/x", script(t, body), func() {})
		if err == nil || errors.Is(err, ErrBeyondRepair) != want {
			t.Errorf("%q: %v, beyond repair = %v, want %v", body, err, !want, want)
		}
	}
	if _, err := Check(t.Context(), "/dev/x", "/nonexistent/e2fsck", func() {}); errors.Is(err, ErrBeyondRepair) {
		t.Errorf("an e2fsck that is not there: %v", err)
	}
}

func TestPassEndsAtItsLimit(t *testing.T) {
	outcome, err := pass(t.Context(), 50*time.Millisecond, func() {}, script(t, "exec sleep 3600"), "-p", "/dev/x")
	if outcome != Bad || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("pass = %v, %v", outcome, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	outcome, err = pass(ctx, time.Hour, cancel, script(t, "exec sleep 3600"), "-p", "/dev/x") // canceled by the first ping
	if outcome != Bad || !errors.Is(err, context.Canceled) {
		t.Errorf("pass = %v, %v", outcome, err)
	}
}

// A file system that is all garbage makes e2fsck say a line about each inode.
func TestOfALongOutputTheEndIsKept(t *testing.T) {
	const length = 1 << 20
	_, err := Check(t.Context(), "/dev/x", script(t, "head -c 1048576 /dev/zero | tr '\\0' x; echo the end; exit 4"), func() {})
	if err == nil || !strings.Contains(err.Error(), "xxxthe end") || len(err.Error()) > 4*outputTail {
		t.Errorf("the error does not end as the output does, or is longer: %.100q", err)
	}
	var out tail
	for range length / 1024 {
		out.Write(make([]byte, 1024))
	}
	out.Write([]byte("the end"))
	if len(out) != outputTail || cap(out) > 4*outputTail || !strings.HasSuffix(string(out), "\x00the end") {
		t.Errorf("%d bytes kept in %d", len(out), cap(out))
	}
}

func TestOutcomeText(t *testing.T) {
	got := []string{Bad.String(), Clean.String(), Repaired.String()}
	if !slices.Equal(got, []string{"bad", "clean", "repaired"}) {
		t.Error(got)
	}
}

// What growing and trimming do to a mounted ext4 is shown in the booted image;
// here, that other file systems are refused.
func TestMountedOperationsRefuseOtherFileSystems(t *testing.T) {
	dir := t.TempDir()
	dev := partition(t, 1<<30)
	if _, err := Grow("/proc", dev); err == nil || !strings.Contains(err.Error(), "grow /proc to 262144 blocks") {
		t.Errorf("Grow: %v", err)
	}
	for _, bad := range []string{filepath.Join(dir, "none"), partition(t, 0)} {
		if _, err := Grow(dir, bad); err == nil {
			t.Errorf("Grow onto %s succeeded", bad)
		}
	}
	if _, err := Trim("/proc"); err == nil {
		t.Error("Trim of /proc succeeded")
	}
	if err := Harden(dir); err == nil {
		t.Error("Harden of a folder succeeded")
	}
	if u, err := Stat(dir); err != nil || u.Bytes == 0 || u.FreeBytes > u.Bytes || u.FreeInodes > u.Inodes {
		t.Errorf("Stat = %+v, %v", u, err)
	}
	if _, err := Stat(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Stat: %v", err)
	}
}
