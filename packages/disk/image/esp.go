package image

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/filesystem/fat32"

	"micromirror/packages/disk"
	"micromirror/packages/release"
	"micromirror/packages/slot"
)

// Names on the ESP. The loader is at the removable path because some firmware
// drops boot entries.
const (
	loaderPath     = "/EFI/BOOT/BOOTX64.EFI"
	loaderConfPath = "/loader/loader.conf"
)

// loaderConf makes the loader boot at once, from our entries only.
const loaderConf = "timeout 0\neditor no\nauto-entries no\nauto-firmware no\nconsole-mode keep\n"

// esp makes the FAT32 file system of partition 1.
func (w *writer) esp(ctx context.Context) error {
	region := w.region(disk.ESP)
	v, err := fat32.Create(&storage{region}, region.size, 0, disk.SectorSize, "ESP", false)
	if err != nil {
		return fmt.Errorf("make FAT32: %w", err)
	}
	files, err := w.espFiles()
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := put(v, f.path, f.data, w.release.Built); err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
	}
	if err := v.Close(); err != nil {
		return err
	}
	return fixParents(region, v)
}

// Facts about FAT directories.
const (
	dirEntrySize  = 32
	attrOffset    = 11
	attrDirectory = 0x10
	attrLongName  = 0x0f
	clusterHigh   = 20
	clusterLow    = 26
	rootCluster   = 2
)

// fixParents makes the ".." entries of the folders in the root point to cluster
// 0, as the FAT specification wants it; go-diskfs writes the root's real cluster.
func fixParents(r *region, v *fat32.FileSystem) error {
	at := func(cluster int64) int64 {
		return int64(v.DataStart()) + (cluster-rootCluster)*int64(v.BytesPerCluster())
	}
	root := make([]byte, v.BytesPerCluster()) // one cluster: there are few folders
	if _, err := r.ReadAt(root, at(rootCluster)); err != nil {
		return err
	}
	for e := range slices.Chunk(root, dirEntrySize) {
		if e[0] == 0 {
			break
		}
		if e[attrOffset]&attrLongName == attrLongName || e[attrOffset]&attrDirectory == 0 {
			continue
		}
		cluster := int64(binary.LittleEndian.Uint16(e[clusterHigh:]))<<16 | int64(binary.LittleEndian.Uint16(e[clusterLow:]))
		parent := at(cluster) + dirEntrySize
		for _, field := range []int64{clusterHigh, clusterLow} {
			if _, err := r.WriteAt([]byte{0, 0}, parent+field); err != nil {
				return err
			}
		}
	}
	return nil
}

type espFile struct {
	path string
	data []byte
}

func (w *writer) espFiles() ([]espFile, error) {
	read := map[string][]byte{}
	for _, name := range []string{release.LoaderFile, release.KernelFile, release.InitrdFile} {
		b, err := os.ReadFile(filepath.Join(w.spec.ReleaseDir, name))
		if err != nil {
			return nil, err
		}
		read[name] = b
	}
	files := []espFile{{loaderPath, read[release.LoaderFile]}, {loaderConfPath, []byte(loaderConf)}}
	for _, e := range w.entries() {
		dir := "/" + e.Slot.Dir() + "/"
		files = append(files,
			espFile{dir + release.KernelFile, read[release.KernelFile]},
			espFile{dir + release.InitrdFile, read[release.InitrdFile]},
			espFile{path.Join("/", slot.EntriesDir, e.FileName()), e.Body()})
	}
	return files, nil
}

func (w *writer) entries() []slot.Entry {
	guid := w.table.Part(disk.ESP).GUID
	a, b := slot.New(slot.A, generationA, w.release, guid), slot.New(slot.B, generationB, w.release, guid)
	if w.spec.Arguments == "" {
		return []slot.Entry{a.WithTries(slot.FullTries), b}
	}
	a.Options += " " + w.spec.Arguments
	b.Options += " " + w.spec.Arguments
	return []slot.Entry{a, b}
}

// put makes a file and the directories above it. One write for the whole file:
// each write stores the whole allocation table.
func put(v *fat32.FileSystem, name string, data []byte, at time.Time) error {
	if err := v.Mkdir(path.Dir(name)); err != nil {
		return err
	}
	f, err := v.OpenFile(name, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return v.Chtimes(name, at, at, at)
}

// storage is a region as go-diskfs wants it.
type storage struct{ *region }

func (s *storage) Sys() (*os.File, error)                  { return nil, backend.ErrNotSuitable }
func (s *storage) Writable() (backend.WritableFile, error) { return s, nil }
func (s *storage) Path() string                            { return "" }
func (s *storage) Stat() (fs.FileInfo, error)              { return s.w.f.Stat() }
func (s *storage) Read([]byte) (int, error)                { return 0, backend.ErrNotSuitable }
func (s *storage) Close() error                            { return nil }
func (s *storage) Seek(int64, int) (int64, error)          { return 0, io.ErrUnexpectedEOF }
