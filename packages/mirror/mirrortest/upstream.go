package mirrortest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"micromirror/packages/rsync/client"
	"micromirror/packages/rsync/flist"
)

// Upstream is an upstream inside the process, for the lies and failures that a
// real one cannot be made to produce. It serves the tree at Dir.
type Upstream struct {
	Dir string
	// Edit may change each entry of the list, or leave it out.
	Edit func(f *flist.File) (keep bool)
	// Extra entries are added to the list.
	Extra []flist.File
	// IOError is the list's.
	IOError int32
	// Fail may return an error for a file instead of its content.
	Fail func(name string) error
	// Mangle may change a file's content on its way, but for its length.
	Mangle func(name string, data []byte) []byte
	// Cut ends the transfer with an error after that many files, if positive.
	Cut int
	// Before is called before a list or transfer starts.
	Before func(step string)

	list *flist.List
}

// ErrCut is what a transfer that is cut ends with.
var ErrCut = errors.New("connection reset by test")

// List lists the tree.
func (u *Upstream) List(context.Context) (*flist.List, error) {
	u.before("list")
	b := flist.NewBuilder(flist.Limits{})
	err := filepath.WalkDir(u.Dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := u.file(p, d)
		if err == nil && (u.Edit == nil || u.Edit(&f)) {
			_, err = b.Add(f)
		}
		return err
	})
	for _, f := range u.Extra {
		if err == nil {
			_, err = b.Add(f)
		}
	}
	if err != nil {
		return nil, err
	}
	if u.list, err = b.Finish(); err != nil {
		return nil, err
	}
	u.list.IOError = u.IOError
	return u.list, nil
}

func (u *Upstream) before(step string) {
	if u.Before != nil {
		u.Before(step)
	}
}

func (u *Upstream) file(p string, d fs.DirEntry) (flist.File, error) {
	info, err := d.Info()
	if err != nil {
		return flist.File{}, err
	}
	name, err := filepath.Rel(u.Dir, p)
	st := info.Sys().(*syscall.Stat_t)
	f := flist.File{
		Name: name, Mode: st.Mode, Size: st.Size, ModTime: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec), HardLink: flist.NoHardLink,
	}
	if st.Nlink > 1 && !d.IsDir() {
		f.HardLink = int64(st.Ino)
	}
	if f.IsSymlink() {
		f.Link, err = os.Readlink(p)
	}
	return f, err
}

// Transfer copies the files that are asked for.
func (u *Upstream) Transfer(ctx context.Context, r client.Request) (client.Result, error) {
	u.before("transfer")
	res := client.Result{Failed: map[int]error{}}
	for n, i := range r.Files {
		if ctx.Err() != nil {
			return res, context.Cause(ctx)
		}
		if u.Cut > 0 && n >= u.Cut {
			return res, ErrCut
		}
		err := error(nil)
		if u.Fail != nil {
			err = u.Fail(u.list.Name(i))
		}
		if err == nil {
			err = u.copy(r, i)
		}
		if err != nil {
			res.Failed[i] = err
			continue
		}
		res.Received++
	}
	return res, nil
}

func (u *Upstream) copy(r client.Request, i int) error {
	data, err := os.ReadFile(filepath.Join(u.Dir, u.list.Name(i)))
	if err != nil {
		return errors.Join(client.ErrVanished, err)
	}
	if u.Mangle != nil {
		data = u.Mangle(u.list.Name(i), data)
	}
	dest := r.Dest(i)
	if err := r.Stage.MkdirAll(path.Dir(dest), 0o700); err != nil {
		return err
	}
	out, err := r.Stage.Create(dest)
	if err != nil {
		return err
	}
	if _, err := out.Write(data); err != nil {
		return errors.Join(err, out.Close())
	}
	if err := out.Close(); err != nil {
		return err
	}
	sec, nsec := u.list.ModTime(i)
	when := time.Unix(sec, int64(nsec))
	return r.Stage.Chtimes(dest, when, when)
}

// Close does nothing.
func (u *Upstream) Close() error { return nil }
