package sync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"micromirror/packages/rsync/client"
	"micromirror/packages/rsync/flist"
)

// Pull brings dst to the state of a module as `rsync -rlptH` would: it compares
// sizes and times, fetches what differs with the old version as basis, and puts
// it in place. It is what the figures measure, not what the mirror runs.
func Pull(ctx context.Context, cfg client.Config, dst string) error {
	conn, err := client.Dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close()
	list, err := conn.List(ctx, client.ListOptions{})
	if err != nil {
		return err
	}
	p := &puller{list: list, dst: dst}
	if err := p.plan(); err != nil {
		return err
	}
	if err := p.fetch(ctx, conn); err != nil {
		return err
	}
	return p.finish()
}

type puller struct {
	list   *flist.List
	dst    string
	files  []int // to be fetched
	links  []int // hard links to be made
	dirs   []int // directories to be set right, with what is in them
	stage  string
	failed error
}

// plan makes directories and symbolic links and finds what has to be fetched.
func (p *puller) plan() error {
	if err := os.MkdirAll(p.dst, 0o755); err != nil {
		return err
	}
	root, err := os.Open(p.dst)
	if err != nil {
		return err
	}
	defer root.Close()
	l := p.list
	for i := range l.Len() {
		if !l.Active(i) {
			continue
		}
		name := l.Name(i)
		var st unix.Stat_t
		err := unix.Fstatat(int(root.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		sec, nsec := l.ModTime(i)
		same := err == nil && st.Mode&unix.S_IFMT == l.Mode(i)&flist.ModeType && st.Mtim.Sec == sec && uint32(st.Mtim.Nsec) == nsec
		switch l.Mode(i) & flist.ModeType {
		case flist.ModeDir:
			if !same || st.Mode != l.Mode(i) {
				p.dirs = append(p.dirs, i)
			}
			if err != nil {
				err = os.Mkdir(filepath.Join(p.dst, name), 0o755)
			}
		case flist.ModeRegular:
			p.planFile(i, &st, same && st.Size == l.Size(i))
			err = nil
		case flist.ModeSymlink:
			err = p.symlink(i, name, same)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *puller) planFile(i int, st *unix.Stat_t, same bool) {
	switch first := p.list.HardLink(i); {
	case first >= 0 && first != i:
		p.links = append(p.links, i)
	case !same:
		p.files = append(p.files, i)
	case st.Mode != p.list.Mode(i):
		p.failed = errors.Join(p.failed, os.Chmod(filepath.Join(p.dst, p.list.Name(i)), fs.FileMode(p.list.Mode(i)&0o777)))
	}
}

func (p *puller) symlink(i int, name string, same bool) error {
	path := filepath.Join(p.dst, name)
	if target, err := os.Readlink(path); err == nil && same && target == p.list.Link(i) {
		return nil
	}
	os.Remove(path)
	if err := os.Symlink(p.list.Link(i), path); err != nil {
		return err
	}
	return p.setTime(i, path)
}

func (p *puller) setTime(i int, path string) error {
	sec, nsec := p.list.ModTime(i)
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: sec, Nsec: int64(nsec)}}
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW)
}

// fetch fetches into a stage beside the tree and moves each file as it is done.
func (p *puller) fetch(ctx context.Context, conn *client.Conn) error {
	p.stage = p.dst + ".stage"
	if err := os.MkdirAll(p.stage, 0o700); err != nil {
		return err
	}
	stage, err := os.OpenRoot(p.stage)
	if err != nil {
		return err
	}
	defer stage.Close()
	result, err := conn.Transfer(ctx, client.Request{
		Files: p.files, Stage: stage,
		Dest:  func(i int) string { return fmt.Sprintf("%d", i) },
		Basis: func(i int) (*os.File, error) { return os.Open(filepath.Join(p.dst, p.list.Name(i))) },
		Done:  p.place,
	})
	if err == nil && result.Code() != 0 {
		err = fmt.Errorf("pull: exit code %d: %v", result.Code(), result.Messages)
	}
	return errors.Join(err, p.failed)
}

func (p *puller) place(i int, err error) {
	if err == nil {
		err = os.Rename(filepath.Join(p.stage, fmt.Sprintf("%d", i)), filepath.Join(p.dst, p.list.Name(i)))
	}
	p.failed = errors.Join(p.failed, err)
}

// finish makes the hard links and sets modes and times of directories, the
// deepest first.
func (p *puller) finish() error {
	for _, i := range p.links {
		from, to := filepath.Join(p.dst, p.list.Name(p.list.HardLink(i))), filepath.Join(p.dst, p.list.Name(i))
		var a, b unix.Stat_t
		if unix.Lstat(to, &b) == nil {
			if unix.Lstat(from, &a) == nil && a.Ino == b.Ino {
				continue
			}
			os.Remove(to)
		}
		if err := os.Link(from, to); err != nil {
			return err
		}
	}
	for k := len(p.dirs) - 1; k >= 0; k-- {
		path := filepath.Join(p.dst, p.list.Name(p.dirs[k]))
		if err := os.Chmod(path, fs.FileMode(p.list.Mode(p.dirs[k])&0o777)); err != nil {
			return err
		}
		if err := p.setTime(p.dirs[k], path); err != nil {
			return err
		}
	}
	return os.Remove(p.stage)
}
