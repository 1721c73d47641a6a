package flist

// Bits of File.Mode: the type as in struct stat, and the permissions.
const (
	ModeType    = 0o170000
	ModeRegular = 0o100000
	ModeDir     = 0o040000
	ModeSymlink = 0o120000
	ModeBlock   = 0o060000
	ModeChar    = 0o020000
	ModeFIFO    = 0o010000
	ModeSocket  = 0o140000
	ModePerm    = 0o007777
)

// NoHardLink is the HardLink of a file that stands alone.
const NoHardLink = -1

// File is one entry of a list.
type File struct {
	Name    string // relative path of raw bytes, "." for the root of the transfer
	Mode    uint32 // type and permissions
	Size    int64
	ModTime int64  // seconds since 1970
	Nsec    uint32 // and nanoseconds, zero before protocol 31
	Link    string // target of a symbolic link

	// HardLink is the index of the first file of the group that shares an inode,
	// in the list's order, or NoHardLink. In Builder.Add it is any number ≥ 0
	// that the files of a group share.
	HardLink int64

	UID, GID uint32 // only on their way to an Encoder; a List does not keep them
	Checksum string // of the content, when the list was asked for with checksums
}

// IsDir tells whether the entry is a directory.
func (f *File) IsDir() bool { return f.Mode&ModeType == ModeDir }

// IsRegular tells whether the entry is a regular file.
func (f *File) IsRegular() bool { return f.Mode&ModeType == ModeRegular }

// IsSymlink tells whether the entry is a symbolic link.
func (f *File) IsSymlink() bool { return f.Mode&ModeType == ModeSymlink }

func validType(mode uint32) bool {
	switch mode & ModeType {
	case ModeRegular, ModeDir, ModeSymlink, ModeBlock, ModeChar, ModeFIFO, ModeSocket:
		return mode&^(ModeType|ModePerm) == 0
	}
	return false
}
