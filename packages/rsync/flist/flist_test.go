package flist

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/rsync/wire"
)

func sample() []File {
	long := strings.Repeat("long/", 100) + strings.Repeat("n", 250)
	return []File{
		{Name: "zzz", Mode: 0o100644, Size: 1 << 40, ModTime: 1_700_000_000, Nsec: 5, HardLink: NoHardLink},
		{Name: ".", Mode: 0o040755, Size: 4096, ModTime: 1_700_000_001, HardLink: NoHardLink},
		{Name: "a-b", Mode: 0o040755, ModTime: 1_700_000_001, HardLink: NoHardLink},
		{Name: "a", Mode: 0o040755, ModTime: 1_700_000_001, HardLink: NoHardLink},
		{Name: "a/two", Mode: 0o100600, Size: 7, ModTime: 3, HardLink: 9},
		{Name: "a/one", Mode: 0o100600, Size: 7, ModTime: 3, HardLink: 9},
		{Name: "a/sub", Mode: 0o040700, ModTime: 3, HardLink: NoHardLink},
		{Name: "a/sub/x y+~%\xff", Mode: 0o100444, ModTime: 0, HardLink: NoHardLink},
		{Name: "a/zlink", Mode: 0o120777, Size: 5, ModTime: 4, Link: "../zz", HardLink: NoHardLink},
		{Name: "a.txt", Mode: 0o100644, ModTime: 4, HardLink: NoHardLink},
		{Name: "fifo", Mode: 0o010644, ModTime: 4, HardLink: NoHardLink},
		{Name: "disk", Mode: 0o060644, ModTime: 4, HardLink: NoHardLink},
		{Name: strings.TrimSuffix(long, "/"+strings.Repeat("n", 250)), Mode: 0o040755, ModTime: 4, HardLink: NoHardLink},
		{Name: long, Mode: 0o100644, ModTime: 4, HardLink: NoHardLink},
	}
}

// sorted is the sample as a list must give it back.
func sorted() []string {
	long := strings.TrimSuffix(strings.Repeat("long/", 100), "/")
	return []string{".", "a.txt", "disk", "fifo", "zzz", "a-b", "a", "a/one", "a/two", "a/zlink",
		"a/sub", "a/sub/x y+~%\xff", long, long + "/" + strings.Repeat("n", 250)}
}

func formats() []Format {
	var all []Format
	for p := wire.MinProtocol; p <= wire.MaxProtocol; p++ {
		f := Format{Protocol: p, Links: true, HardLinks: true, SafeList: p >= 31}
		all = append(all, f)
		f.Owner, f.Group, f.Devices, f.Specials, f.Checksum = true, true, true, true, 16
		all = append(all, f)
		if p >= 30 {
			f.VarintFlags, f.ID0Names = true, true
			all = append(all, f)
		}
	}
	return all
}

func encode(t testing.TB, format Format, files []File, ioError int32) []byte {
	t.Helper()
	var b bytes.Buffer
	w := wire.NewWriter(&b, 0)
	w.SetProtocol(format.Protocol)
	e := NewEncoder(w, format)
	for i := range files {
		if err := e.Entry(&files[i], Inner); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.End(ioError); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	return b.Bytes()
}

func decode(format Format, raw []byte, limits Limits) (*List, error) {
	r := wire.NewReader(bytes.NewReader(raw), 0)
	r.SetProtocol(format.Protocol)
	return NewDecoder(r, format, limits).Decode()
}

func TestRoundTrip(t *testing.T) {
	for _, format := range formats() {
		t.Run(fmt.Sprintf("%+v", format), func(t *testing.T) {
			ioError := int32(wire.IOErrGeneral)
			if format.Protocol == 30 && !format.VarintFlags {
				ioError = 0
			}
			l, err := decode(format, encode(t, format, sample(), ioError), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if l.IOError != ioError || l.Duplicates != 0 {
				t.Errorf("I/O error %d, %d duplicates", l.IOError, l.Duplicates)
			}
			want := map[string]File{}
			for _, f := range sample() {
				if format.Protocol < 31 {
					f.Nsec = 0
				}
				if f.HardLink == 9 {
					f.HardLink = 7
				}
				if format.Checksum > 0 && f.IsRegular() {
					f.Checksum = strings.Repeat("\x00", 16)
				}
				want[f.Name] = f
			}
			var names []string
			for i, f := range l.All() {
				names = append(names, f.Name)
				w := want[f.Name]
				if format.hasRdev(f.Mode) {
					w.Size = 0
				}
				if diff := cmp.Diff(w, f); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				if j, ok := l.Find(f.Name); !ok || j != i {
					t.Errorf("find %q: %d, %v, want %d", f.Name, j, ok, i)
				}
				if got := l.FromWire(format.Protocol, l.Wire(format.Protocol, i)); got != i {
					t.Errorf("wire index of %d leads to %d", i, got)
				}
			}
			if diff := cmp.Diff(sorted(), names); diff != "" {
				t.Errorf("order -want +got:\n%s", diff)
			}
		})
	}
}

func TestOldOrder(t *testing.T) {
	b := NewBuilder(Limits{})
	for _, f := range sample() {
		if _, err := b.Add(f); err != nil {
			t.Fatal(err)
		}
	}
	l, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range 8 {
		got = append(got, l.Name(l.FromWire(28, int32(i))))
	}
	want := []string{".", "a", "a-b", "a.txt", "a/one", "a/sub", "a/sub/x y+~%\xff", "a/two"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestFinish(t *testing.T) {
	file := func(name string, mode uint32) File { return File{Name: name, Mode: mode, HardLink: NoHardLink} }
	tests := []struct {
		name  string
		files []File
		want  []string // modes and names that count
		err   error
	}{
		{"same file twice", []File{file("x", 0o100644), file("x", 0o100600)}, []string{"100644 x"}, nil},
		{"same directory twice", []File{file("x", 0o040755), file("x", 0o040700)}, []string{"40755 x"}, nil},
		{"directory wins", []File{file("x", 0o100644), file("x", 0o040700), file("x/y", 0o100644)}, []string{"40700 x", "100644 x/y"}, nil},
		{"symlink as directory", []File{file("x", 0o120777), file("x/y", 0o100644)}, nil, ErrEntry},
		{"symlink above", []File{file("x", 0o120777), file("x/y/z", 0o100644)}, nil, ErrEntry},
		{"empty", nil, nil, nil},
		{"dotdot", []File{file("../x", 0o100644)}, nil, ErrName},
		{"dotdot inside", []File{file("a/../x", 0o100644)}, nil, ErrName},
		{"absolute", []File{file("/x", 0o100644)}, nil, ErrName},
		{"empty name", []File{file("", 0o100644)}, nil, ErrName},
		{"empty part", []File{file("a//b", 0o100644)}, nil, ErrName},
		{"zero byte", []File{file("a\x00b", 0o100644)}, nil, ErrName},
		{"component too long", []File{file(strings.Repeat("a", 256), 0o100644)}, nil, ErrName},
		{"root is a file", []File{file(".", 0o100644)}, nil, ErrEntry},
		{"no type", []File{file("x", 0o644)}, nil, ErrEntry},
		{"negative size", []File{{Name: "x", Mode: 0o100644, Size: -1}}, nil, ErrEntry},
		{"too many", []File{file("a", 0o100644), file("b", 0o100644), file("c", 0o100644), file("d", 0o100644), file("e", 0o100644)}, nil, ErrLimit},
		{"too long", []File{file(strings.Repeat("abc/", 20), 0o100644)}, nil, ErrName},
		{"names too long", []File{file(strings.Repeat("abc/", 30)+"a", 0o100644)}, nil, ErrLimit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := build(tt.files)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			var got []string
			for _, f := range l.All() {
				got = append(got, fmt.Sprintf("%o %s", f.Mode, f.Name))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func build(files []File) (*List, error) {
	b := NewBuilder(Limits{Entries: 4, Bytes: 1000})
	for _, f := range files {
		if _, err := b.Add(f); err != nil {
			return nil, err
		}
	}
	return b.Finish()
}

// FuzzDecode feeds a decoder anything; what it accepts must survive being
// encoded and decoded again.
func FuzzDecode(f *testing.F) {
	for i, format := range formats() {
		f.Add(encode(f, format, sample(), 0), uint8(i))
	}
	f.Fuzz(func(t *testing.T, raw []byte, which uint8) {
		format := formats()[int(which)%len(formats())]
		l, err := decode(format, raw, Limits{Entries: 1000, Bytes: 1 << 20})
		if err != nil {
			return
		}
		var files []File
		for _, file := range l.All() {
			files = append(files, file)
		}
		again, err := decode(format, encode(t, format, files, l.IOError), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		for _, file := range again.All() {
			if file.Name != files[i].Name || file.Mode != files[i].Mode || file.Link != files[i].Link || file.Size != files[i].Size {
				t.Fatalf("entry %d: %+v became %+v", i, files[i], file)
			}
			i++
		}
	})
}
