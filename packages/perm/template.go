package perm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"

	"github.com/klauspost/compress/zstd"

	"micromirror/packages/layout"
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
	"-L", "perm", "-e", "remount-ro", "-o", "Linux",
	"-O", "none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink," +
		"extra_isize,metadata_csum,metadata_csum_seed,resize_inode",
	// 2^31 blocks are 8 TiB: as many as the 1,024 reserved descriptor blocks reach.
	"-E", "resize=2147483648,lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0,hash_seed=" + templateUUID,
}

// Template makes the file system with mke2fs and debugfs (of e2fsprogs 1.47 or
// newer) and writes it to the file out, compressed with zstd. All that is in it is
// where init sends the services' lines, because init asks for that before any
// program of ours could write it.
func Template(ctx context.Context, out string) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(out), ".perm")
	if err != nil {
		return fmt.Errorf("make /perm template: %w", err)
	}
	defer os.RemoveAll(dir)
	img := filepath.Join(dir, "ext4")
	if err := mke2fs(ctx, img, TemplateSize, templateUUID); err != nil {
		return fmt.Errorf("make /perm template: %w", err)
	}
	if err := addLogTarget(ctx, img); err != nil {
		return fmt.Errorf("make /perm template: %w", err)
	}
	packed := filepath.Join(dir, "zst")
	if err := compress(img, packed); err != nil {
		return fmt.Errorf("compress /perm template: %w", err)
	}
	return os.Rename(packed, out)
}

func mke2fs(ctx context.Context, img string, size int64, uuid string) error {
	if err := os.WriteFile(img, nil, 0o644); err != nil {
		return err
	}
	if err := os.Truncate(img, size); err != nil {
		return err
	}
	_, err := e2fsprogs(ctx, "mke2fs", append(slices.Clone(mke2fsArguments), "-U", uuid, img)...)
	return err
}

// addLogTarget writes the one file that a new /perm holds.
func addLogTarget(ctx context.Context, img string) error {
	const content = layout.LogAddress + "\n"
	file := img + ".target"
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		return err
	}
	script := img + ".debugfs"
	lines := "mkdir " + path.Dir(layout.LogTargetFile) + "\nwrite " + file + " " + layout.LogTargetFile +
		"\nset_inode_field " + layout.LogTargetFile + " mode 0100644\n"
	if err := os.WriteFile(script, []byte(lines), 0o644); err != nil {
		return err
	}
	if _, err := e2fsprogs(ctx, "debugfs", "-w", "-f", script, img); err != nil {
		return err
	}
	// debugfs says that all went well in any case.
	got, err := e2fsprogs(ctx, "debugfs", "-R", "cat "+layout.LogTargetFile, img)
	if err != nil {
		return err
	}
	if got != content {
		return fmt.Errorf("debugfs did not write %s but %q", layout.LogTargetFile, got)
	}
	return nil
}

// e2fsprogs runs a program of that package, whose clock and configuration are
// always the same, and returns its output.
func e2fsprogs(ctx context.Context, name string, args ...string) (string, error) {
	program, err := exec.LookPath(name)
	if err != nil {
		program = "/usr/sbin/" + name // not in the PATH of ordinary users on Debian
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "MKE2FS_CONFIG="+os.DevNull, "E2FSPROGS_FAKE_TIME="+templateTime, "SOURCE_DATE_EPOCH="+templateTime)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s (package e2fsprogs, 1.47 or newer): %w: %s", name, err, said.String())
	}
	return string(out), nil
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
