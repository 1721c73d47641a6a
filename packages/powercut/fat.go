package powercut

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf16"
)

// fat is a FAT32 file system, read by the specification and checked on the way:
// what libraries read around, a checker has to see.
type fat struct {
	r       io.ReaderAt
	data    int64 // where cluster 2 is
	cluster int64 // size in bytes
	table   []uint32
	owner   map[uint32]string // of each cluster that was reached
	files   map[string]fatFile
	// broken are files and folders whose chain is damaged, by path; crossed are
	// pairs that claim one cluster. Two names of one file in one folder are what
	// a rename leaves half-way, and no damage yet.
	broken  map[string]error
	crossed [][2]string
}

type fatFile struct {
	chain []uint32
	size  int64
	dir   bool
}

func (f fatFile) begins(cluster uint32) bool { return len(f.chain) > 0 && f.chain[0] == cluster }

const (
	fatMask    = 0x0fffffff
	fatEnd     = 0x0ffffff8
	maxDepth   = 8
	maxFATSize = 64 << 20

	attrVolume    = 0x08
	attrDirectory = 0x10
	attrLong      = 0x0f
	dirEntrySize  = 32
)

// readFAT reads the table and every folder.
func readFAT(r io.ReaderAt) (*fat, error) {
	var b [512]byte
	if _, err := r.ReadAt(b[:], 0); err != nil {
		return nil, fmt.Errorf("FAT boot sector: %w", err)
	}
	le := binary.LittleEndian
	reserved, copies, fatSectors := int64(le.Uint16(b[14:])), int64(b[16]), int64(le.Uint32(b[36:]))
	f := &fat{r: r, cluster: int64(b[13]) * sectorSize, data: (reserved + copies*fatSectors) * sectorSize,
		owner: map[uint32]string{}, files: map[string]fatFile{}, broken: map[string]error{}}
	if le.Uint16(b[11:]) != sectorSize || le.Uint16(b[510:]) != 0xaa55 || f.cluster == 0 || copies == 0 || fatSectors*sectorSize > maxFATSize {
		return nil, errors.New("FAT boot sector: not one of FAT32")
	}
	raw := make([]byte, fatSectors*sectorSize)
	if _, err := r.ReadAt(raw, reserved*sectorSize); err != nil {
		return nil, fmt.Errorf("allocation table: %w", err)
	}
	f.table = make([]uint32, len(raw)/4)
	for i := range f.table {
		f.table[i] = le.Uint32(raw[4*i:]) & fatMask
	}
	f.walk("", le.Uint32(b[44:]), 0)
	return f, f.broken["/"]
}

// chain follows a file's clusters and claims them for it.
func (f *fat) chain(name string, first uint32) ([]uint32, error) {
	var out []uint32
	for c := first; c < fatEnd; c = f.table[c] {
		if c < 2 || int(c) >= len(f.table) {
			return out, fmt.Errorf("its chain leads to cluster %d after %d", c, len(out))
		}
		if owner, taken := f.owner[c]; taken {
			if owner == name {
				return out, fmt.Errorf("its chain is a loop at cluster %d", c)
			}
			f.crossed = append(f.crossed, [2]string{owner, name})
			return out, fmt.Errorf("cluster %d belongs to %s", c, owner)
		}
		f.owner[c] = name
		out = append(out, c)
	}
	return out, nil
}

// walk reads a folder and what is below it.
func (f *fat) walk(dir string, first uint32, depth int) {
	clusters, err := f.chain(dir+"/", first)
	if err == nil && depth > maxDepth {
		err = errors.New("too deep")
	}
	var raw []byte
	if err == nil {
		raw, err = f.read(clusters)
	}
	if err != nil {
		f.broken[dir+"/"] = err
		return
	}
	f.files[dir+"/"] = fatFile{chain: clusters, dir: true}
	var long longName
	for ; len(raw) >= dirEntrySize && raw[0] != 0; raw = raw[dirEntrySize:] {
		e := raw[:dirEntrySize]
		if e[0] == 0xe5 {
			long = longName{}
			continue
		}
		if e[11]&0x3f == attrLong {
			long.add(e)
			continue
		}
		name := long.take(e)
		if e[11]&attrVolume == 0 && name != "." && name != ".." {
			f.add(dir+"/"+strings.ToLower(name), e, depth)
		}
	}
}

func (f *fat) add(name string, e []byte, depth int) {
	le := binary.LittleEndian
	first := uint32(le.Uint16(e[20:]))<<16 | uint32(le.Uint16(e[26:]))
	if e[11]&attrDirectory != 0 {
		f.walk(name, first, depth+1)
		return
	}
	file := fatFile{size: int64(le.Uint32(e[28:]))}
	var err error
	if twin, taken := f.owner[first]; taken && path.Dir(twin) == path.Dir(name) && f.files[twin].begins(first) {
		file.chain, err = f.files[twin].chain, f.broken[twin]
	} else if first != 0 {
		file.chain, err = f.chain(name, first)
	}
	if have := int64(len(file.chain)) * f.cluster; err == nil && have < file.size {
		err = fmt.Errorf("%d bytes in clusters for %d", file.size, have)
	}
	if _, twice := f.files[name]; twice {
		err = errors.Join(err, errors.New("the name is there twice"))
	}
	if err != nil {
		f.broken[name] = err
	}
	f.files[name] = file
}

func (f *fat) read(clusters []uint32) ([]byte, error) {
	out := make([]byte, 0, int64(len(clusters))*f.cluster)
	for _, c := range clusters {
		n := len(out)
		out = out[:n+int(f.cluster)]
		if _, err := f.r.ReadAt(out[n:], f.data+int64(c-2)*f.cluster); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// file reads a file whose chain is whole. Names are lower-case.
func (f *fat) file(name string) ([]byte, error) {
	file, ok := f.files[name]
	if err := f.broken[name]; err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if !ok || file.dir {
		return nil, fmt.Errorf("%s: no such file", name)
	}
	b, err := f.read(file.chain)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b[:file.size], nil
}

// list returns the names of the files in a folder.
func (f *fat) list(dir string) []string {
	var out []string
	for name, file := range f.files {
		if !file.dir && path.Dir(name) == dir {
			out = append(out, path.Base(name))
		}
	}
	return out
}

// longName gathers the parts of a long name, which come before the entry, last
// part first.
type longName struct {
	units []uint16
	sum   byte
}

func (l *longName) add(e []byte) {
	var part []uint16
	for _, span := range [][2]int{{1, 11}, {14, 26}, {28, 32}} {
		for i := span[0]; i < span[1]; i += 2 {
			part = append(part, binary.LittleEndian.Uint16(e[i:]))
		}
	}
	if e[0]&0x40 != 0 {
		l.units = nil
	}
	l.units, l.sum = append(part, l.units...), e[13]
}

// take returns the name of an entry: the long one if it belongs to it.
func (l *longName) take(e []byte) string {
	defer func() { *l = longName{} }()
	var sum byte
	for _, c := range e[:11] {
		sum = (sum>>1 | sum<<7) + c
	}
	if len(l.units) > 0 && l.sum == sum {
		name, _, _ := strings.Cut(string(utf16.Decode(l.units)), "\x00")
		return strings.TrimRight(name, "\uffff")
	}
	name, ext := strings.TrimRight(string(e[:8]), " "), strings.TrimRight(string(e[8:11]), " ")
	if ext != "" {
		name += "." + ext
	}
	return name
}
