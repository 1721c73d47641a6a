package powercut

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/disk"
	diskimage "micromirror/packages/disk/image"
	"micromirror/packages/identity"
	"micromirror/packages/perm"
	"micromirror/packages/release"
	"micromirror/packages/verity"
	"micromirror/packages/vm"
)

// request is one entry of a log that a test makes up.
type request struct {
	offset int64
	flags  uint64
	data   []byte
	size   int64 // of a discard
}

var flush = request{flags: flagFlush}

func write(offset int64, data []byte) request { return request{offset: offset, data: data} }

// encodeLog is what QEMU would have recorded.
func encodeLog(requests []request) []byte {
	le := binary.LittleEndian
	b := make([]byte, sectorSize)
	le.PutUint64(b, logMagic)
	le.PutUint64(b[8:], logVersion)
	le.PutUint64(b[16:], uint64(len(requests)))
	le.PutUint32(b[24:], sectorSize)
	for _, r := range requests {
		head := make([]byte, sectorSize)
		le.PutUint64(head, uint64(r.offset/sectorSize))
		le.PutUint64(head[8:], uint64(max(r.size, int64(len(r.data)))/sectorSize))
		le.PutUint64(head[16:], r.flags)
		b = append(append(b, head...), r.data...)
	}
	return b
}

// record makes a recording out of a base image and a made-up log.
func record(t *testing.T, base string, requests []request) *recorded {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(base, filepath.Join(dir, baseFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, logFile), encodeLog(requests), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := openRecorded(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.close() })
	return d
}

// blankDisk is a base image of so many sectors, each filled with its number.
func blankDisk(t *testing.T, sectors int) string {
	t.Helper()
	b := make([]byte, 0, sectors*sectorSize)
	for n := range sectors {
		b = append(b, fill(byte(n))...)
	}
	path := filepath.Join(t.TempDir(), "base")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fill is a sector full of one byte.
func fill(b byte) []byte { return bytes.Repeat([]byte{b}, sectorSize) }

// makeRelease makes a release folder with noise of the right shape.
func makeRelease(t *testing.T, seed byte, version string) (string, *release.Release) {
	t.Helper()
	dir := t.TempDir()
	random := rand.NewChaCha8([32]byte{seed})
	for name, size := range map[string]int{release.KernelFile: 60_000, release.InitrdFile: 20_000, release.LoaderFile: 9_000, release.RootFile: 100_000} {
		b := make([]byte, size)
		random.Read(b) // never fails
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := verity.Append(filepath.Join(dir, release.RootFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := perm.Template(t.Context(), filepath.Join(dir, release.PermFile)); err != nil {
		t.Fatal(err)
	}
	err = release.Write(dir, release.Release{
		Version: version, Built: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), Root: release.Root{Verity: tree},
		Loader: release.Loader{Version: "262"}, Hardware: []string{"qemu"}, Options: "ro",
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := release.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, r
}

// makeDisk writes the image of a node's disk with a release in both slots.
func makeDisk(t *testing.T, releaseDir string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "disk.img")
	err := diskimage.Write(t.Context(), out, diskimage.Spec{Size: disk.MinSize, ReleaseDir: releaseDir,
		Identity: identity.Set{"node.json": []byte("{}"), "fleet.json": []byte(`{"a":1}`)}})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// script turns steps, each a change of a disk, into requests: the sectors in which
// the disk differs after the step, and a flush if the step ends with a barrier.
type script struct {
	t        *testing.T
	now      vm.Disk
	then     string
	requests []request
}

func newScript(t *testing.T, base string) *script {
	t.Helper()
	now := filepath.Join(t.TempDir(), "now.img")
	if err := vm.CopySparse(base, now, 0); err != nil {
		t.Fatal(err)
	}
	return &script{t: t, now: vm.Disk{Path: now}, then: now + ".then"}
}

func (s *script) step(barrier bool, changes ...func(vm.Disk) error) {
	s.t.Helper()
	if err := vm.CopySparse(s.now.Path, s.then, 0); err != nil {
		s.t.Fatal(err)
	}
	for _, change := range changes {
		if err := change(s.now); err != nil {
			s.t.Fatal(err)
		}
	}
	s.requests = append(s.requests, s.differences()...)
	if barrier {
		s.requests = append(s.requests, flush)
	}
}

// differences compares the disk with what it was before the step.
func (s *script) differences() []request {
	var files [2]*os.File
	for i, path := range []string{s.then, s.now.Path} {
		f, err := os.Open(path)
		if err != nil {
			s.t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	var out []request
	var was, is [4096]byte
	for at := int64(0); ; at += int64(len(is)) {
		next, err := unix.Seek(int(files[1].Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return out
		}
		if err != nil {
			s.t.Fatal(err)
		}
		at = next - next%int64(len(is))
		for i, b := range [][]byte{was[:], is[:]} {
			if _, err := files[i].ReadAt(b, at); err != nil && err != io.EOF {
				s.t.Fatal(err)
			}
		}
		for n := 0; n < len(is); n += sectorSize {
			if now := is[n : n+sectorSize]; !bytes.Equal(now, was[n:n+sectorSize]) {
				out = extend(out, at+int64(n), now)
			}
		}
	}
}

// extend adds a sector to the last request if it follows on it.
func extend(requests []request, at int64, data []byte) []request {
	if n := len(requests) - 1; n >= 0 {
		if r := &requests[n]; r.offset+int64(len(r.data)) == at && len(r.data) < 32*sectorSize {
			r.data = append(r.data, data...)
			return requests
		}
	}
	return append(requests, write(at, bytes.Clone(data)))
}
