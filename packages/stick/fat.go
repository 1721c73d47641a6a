package stick

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
)

// fatSize is a little more than FAT32 needs to be FAT32.
const fatSize = 40 << 20

// Image is a stick, without partitions, that has a node's file and nothing else.
func Image(node string, content []byte) (image []byte, err error) {
	if len(content) > MaxSize {
		return nil, fmt.Errorf("the file for %s has more than %d bytes", node, MaxSize)
	}
	dir, err := os.MkdirTemp("", "stick")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	f, err := os.Create(filepath.Join(dir, "image"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(fatSize); err != nil {
		return nil, err
	}
	fat, err := fat32.Create(file.New(f, false), fatSize, 0, 0, "MICROMIRROR", false)
	if err != nil {
		return nil, fmt.Errorf("make FAT32: %w", err)
	}
	to, err := fat.OpenFile("/"+FileName(node), os.O_CREATE|os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("make FAT32: %w", err)
	}
	if _, err := to.Write(content); err != nil {
		return nil, fmt.Errorf("make FAT32: %w", err)
	}
	if err := errors.Join(to.Close(), fat.Close()); err != nil {
		return nil, fmt.Errorf("make FAT32: %w", err)
	}
	return os.ReadFile(f.Name())
}
