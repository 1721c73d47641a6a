package vm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
)

// Partition is a partition's number on a node's disk.
type Partition int

// The partitions of a node's disk.
const (
	ESP      Partition = 1
	RootA    Partition = 2
	RootB    Partition = 3
	Perm     Partition = 4
	Identity Partition = 5
)

// Disk is a raw disk image that no machine is using. It reads the partition table
// itself, and not with the code that is under test.
type Disk struct{ Path string }

// Extent is where a partition lies on the disk, in bytes.
type Extent struct{ Offset, Size int64 }

const sector = 512

// Extent finds a partition in the primary GPT, or in the backup at the disk's end
// when the primary has no valid signature.
func (d Disk) Extent(p Partition) (Extent, error) {
	f, err := os.Open(d.Path)
	if err != nil {
		return Extent{}, fmt.Errorf("find partition %d: %w", p, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Extent{}, fmt.Errorf("find partition %d: %w", p, err)
	}
	for _, header := range []int64{sector, st.Size() - sector} {
		if e, err := entry(f, header, p); err == nil {
			return e, nil
		}
	}
	return Extent{}, fmt.Errorf("find partition %d of %s: no GPT with it", p, d.Path)
}

// entry reads one entry of the table whose header is at byte offset header (UEFI
// specification, section 5.3).
func entry(f io.ReaderAt, header int64, p Partition) (Extent, error) {
	h := make([]byte, 92)
	if _, err := f.ReadAt(h, header); err != nil {
		return Extent{}, err
	}
	le := binary.LittleEndian
	if string(h[:8]) != "EFI PART" || p < 1 || uint32(p) > le.Uint32(h[80:]) {
		return Extent{}, errors.New("no such entry")
	}
	e := make([]byte, 128)
	at := int64(le.Uint64(h[72:]))*sector + int64(p-1)*int64(le.Uint32(h[84:]))
	if _, err := f.ReadAt(e, at); err != nil {
		return Extent{}, err
	}
	first, last := int64(le.Uint64(e[32:])), int64(le.Uint64(e[40:]))
	if first == 0 || last < first {
		return Extent{}, errors.New("empty entry")
	}
	return Extent{first * sector, (last - first + 1) * sector}, nil
}

// ReadAt reads n bytes from byte off of a partition.
func (d Disk) ReadAt(p Partition, off int64, n int) ([]byte, error) {
	e, err := d.Extent(p)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(d.Path)
	if err != nil {
		return nil, fmt.Errorf("read partition %d: %w", p, err)
	}
	defer f.Close()
	b := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(f, e.Offset+off, e.Size-off), b); err != nil {
		return nil, fmt.Errorf("read partition %d at %d: %w", p, off, err)
	}
	return b, nil
}

// WriteAt changes a partition. It refuses to write beyond the partition's end.
func (d Disk) WriteAt(p Partition, off int64, b []byte) error {
	e, err := d.Extent(p)
	if err != nil {
		return err
	}
	if off < 0 || off+int64(len(b)) > e.Size {
		return fmt.Errorf("write partition %d: bytes %d to %d are beyond its %d", p, off, off+int64(len(b)), e.Size)
	}
	return d.WriteRaw(e.Offset+off, b)
}

// WriteRaw changes the disk at a byte offset from its start.
func (d Disk) WriteRaw(off int64, b []byte) error {
	f, err := os.OpenFile(d.Path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("write disk: %w", err)
	}
	_, err = f.WriteAt(b, off)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write disk: %w", err)
	}
	return nil
}

// Scramble overwrites n bytes of a partition with noise, the same each time.
func (d Disk) Scramble(p Partition, off int64, n int) error {
	noise := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(p)}).Read(noise) // never fails
	return d.WriteAt(p, off, noise)
}

// FlipBit changes one bit of a partition.
func (d Disk) FlipBit(p Partition, off int64) error {
	b, err := d.ReadAt(p, off, 1)
	if err != nil {
		return err
	}
	return d.WriteAt(p, off, []byte{b[0] ^ 1})
}

// CheckPerm runs e2fsck over /perm without changing it and returns its report.
// The error says that something is wrong with the file system.
func (d Disk) CheckPerm() (string, error) {
	e, err := d.Extent(Perm)
	if err != nil {
		return "", err
	}
	return run("", "/usr/sbin/e2fsck", "-fn", fmt.Sprintf("%s?offset=%d", d.Path, e.Offset))
}

// ExtractPerm copies a directory of /perm, with modes, times and symbolic links,
// into the existing directory to.
func (d Disk) ExtractPerm(dir, to string) error {
	_, err := d.debugfs(fmt.Sprintf("rdump %q %q", dir, to))
	return err
}

// debugfs runs one command of e2fsprogs' debugfs on /perm. It exits with 0
// whatever happens; what it says beyond its banner is its error.
func (d Disk) debugfs(command string) (string, error) {
	e, err := d.Extent(Perm)
	if err != nil {
		return "", err
	}
	cmd := exec.Command("/usr/sbin/debugfs", "-R", command, fmt.Sprintf("%s?offset=%d", d.Path, e.Offset))
	var said, out strings.Builder
	cmd.Stderr, cmd.Stdout = &said, &out
	err = cmd.Run()
	_, complaint, _ := strings.Cut(said.String(), "\n") // the banner is one line
	if err == nil && strings.TrimSpace(complaint) != "" {
		err = errors.New(strings.TrimSpace(complaint))
	}
	if err != nil {
		return "", fmt.Errorf("debugfs %s: %w", command, err)
	}
	return out.String(), nil
}
