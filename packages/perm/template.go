package perm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// TemplateSize is the size of the file system that Template makes.
const TemplateSize = 256 << 20

// Fixed, so that two builds make the same template; each disk gets its own UUID
// when the template is written to it.
const (
	templateUUID = "6d6d7065-726d-4000-8000-000000000001"
	templateTime = "1577836800" // 2020-01-01, in seconds
)

// mke2fsArguments say everything, so that the build machine's mke2fs.conf, which
// is not read, cannot matter.
var mke2fsArguments = []string{
	"-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-i", "131072", "-m", "0", "-J", "size=64",
	"-L", "perm", "-U", templateUUID, "-e", "remount-ro", "-o", "Linux",
	"-O", "none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink," +
		"extra_isize,metadata_csum,metadata_csum_seed,resize_inode",
	// 2^31 blocks are 8 TiB: as many as the 1,024 reserved descriptor blocks reach.
	"-E", "resize=2147483648,lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0,hash_seed=" + templateUUID,
}

// Template makes the empty file system with mke2fs (of e2fsprogs 1.47 or newer)
// and writes it to the file out, compressed with zstd.
func Template(ctx context.Context, out string) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(out), ".perm")
	if err != nil {
		return fmt.Errorf("make /perm template: %w", err)
	}
	defer os.RemoveAll(dir)
	img := filepath.Join(dir, "ext4")
	if err := mke2fs(ctx, img, TemplateSize); err != nil {
		return fmt.Errorf("make /perm template: %w", err)
	}
	packed := filepath.Join(dir, "zst")
	if err := compress(img, packed); err != nil {
		return fmt.Errorf("compress /perm template: %w", err)
	}
	return os.Rename(packed, out)
}

func mke2fs(ctx context.Context, img string, size int64) error {
	if err := os.WriteFile(img, nil, 0o644); err != nil {
		return err
	}
	if err := os.Truncate(img, size); err != nil {
		return err
	}
	program, err := exec.LookPath("mke2fs")
	if err != nil {
		program = "/usr/sbin/mke2fs" // not in the PATH of ordinary users on Debian
	}
	cmd := exec.CommandContext(ctx, program, append(append([]string{}, mke2fsArguments...), img)...)
	cmd.Env = append(os.Environ(), "MKE2FS_CONFIG="+os.DevNull, "E2FSPROGS_FAKE_TIME="+templateTime, "SOURCE_DATE_EPOCH="+templateTime)
	if msg, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mke2fs (package e2fsprogs, 1.47 or newer): %w: %s", err, msg)
	}
	return nil
}

func compress(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	z, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	if _, err := io.Copy(z, in); err != nil {
		return errors.Join(err, z.Close())
	}
	return z.Close()
}
