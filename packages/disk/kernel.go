package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// span is a partition as the kernel sees it, in sectors.
type span struct{ start, size uint64 }

// step is one BLKPG request.
type step struct {
	op     int32
	number int
	span   span
}

// tellKernel makes the kernel's partitions agree with the table, one BLKPG
// request for each difference. Re-reading the whole table (BLKRRPART) would
// remove and re-create every device node, and is refused while one is in use.
// An image file has no kernel to tell.
func tellKernel(f *os.File, sys string, t *Table) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return nil
	}
	dir := filepath.Join(sys, "dev/block", fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)))
	known, err := kernelSpans(os.DirFS(dir))
	if err != nil {
		return err
	}
	for _, s := range steps(t, known) {
		if err := blkpg(f, s); err != nil {
			return fmt.Errorf("partition %d: %w", s.number, err)
		}
	}
	return nil
}

// steps lists what makes the kernel's view equal to the table's.
func steps(t *Table, known map[int]span) []step {
	var out []step
	for i, p := range t.Partitions {
		n := i + 1
		old, exists := known[n]
		want := span{p.First, p.Last - p.First + 1}
		switch {
		case !p.Used() && exists:
			out = append(out, step{unix.BLKPG_DEL_PARTITION, n, old})
		case !p.Used() || old == want:
		case exists && old.start == want.start:
			out = append(out, step{unix.BLKPG_RESIZE_PARTITION, n, want})
		case exists:
			out = append(out, step{unix.BLKPG_DEL_PARTITION, n, old}, step{unix.BLKPG_ADD_PARTITION, n, want})
		default:
			out = append(out, step{unix.BLKPG_ADD_PARTITION, n, want})
		}
	}
	return out
}

// kernelSpans reads the partitions below a disk's sysfs directory.
func kernelSpans(disk fs.FS) (map[int]span, error) {
	known := map[int]span{}
	files, err := fs.Glob(disk, "*/partition")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		var v [3]uint64
		for i, name := range []string{"partition", "start", "size"} {
			if v[i], err = readNumber(disk, filepath.Join(filepath.Dir(file), name)); err != nil {
				return nil, err
			}
		}
		known[int(v[0])] = span{v[1], v[2]}
	}
	return known, nil
}

func readNumber(fsys fs.FS, name string) (uint64, error) {
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	return n, nil
}

// blkpgPartition is struct blkpg_partition of <linux/blkpg.h>, in bytes.
type blkpgPartition struct {
	start, length int64
	number        int32
	names         [128]byte
	_             int32
}

func blkpg(f *os.File, s step) error {
	p := blkpgPartition{start: int64(s.span.start) * SectorSize, length: int64(s.span.size) * SectorSize, number: int32(s.number)}
	arg := unix.BlkpgIoctlArg{Op: s.op, Datalen: int32(unsafe.Sizeof(p)), Data: (*byte)(unsafe.Pointer(&p))}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&arg)))
	if errno != 0 {
		return os.NewSyscallError("ioctl BLKPG", errno)
	}
	return nil
}

// errSectorSize is what Find reports for disks that the layout cannot be on.
var errSectorSize = errors.New("its sectors are not 512 bytes long")
