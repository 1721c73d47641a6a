package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/mirror/plan"
	"micromirror/packages/mirror/status"
	"micromirror/packages/mirror/tree"
	"micromirror/packages/mirror/verify"
	"micromirror/packages/rsync/client"
	"micromirror/packages/rsync/flist"
)

// content fetches what the plan needs and returns what it could not get.
func (j *Job) content(ctx context.Context, s *stage, up Upstream, list *flist.List, p *plan.Plan) (map[int]error, error) {
	if len(p.Fetch) == 0 {
		return nil, j.room(p, 0, 0)
	}
	need, err := j.missing(s, list, p)
	if err != nil {
		return nil, err
	}
	var failed map[int]error
	if len(need) > 0 {
		if failed, err = j.transfer(ctx, s, up, list, p, need); err != nil {
			return nil, err
		}
	}
	return j.verify(s, list, p, failed)
}

// transfer fetches files to the stage.
func (j *Job) transfer(ctx context.Context, s *stage, up Upstream, list *flist.List, p *plan.Plan, need []int) (map[int]error, error) {
	if err := j.fault("fetch"); err != nil {
		return nil, err
	}
	staged, err := os.OpenRoot(s.path(newDir))
	if err != nil {
		return nil, err
	}
	defer staged.Close()
	bases, err := newBases(j.Tree, list)
	if err != nil {
		return nil, err
	}
	defer bases.close()
	j.Progress(status.Progress{Phase: "fetch", FilesTotal: p.Counts.FetchFiles, BytesTotal: p.Counts.FetchBytes})
	stop := j.checkpoints(s)
	defer stop()
	res, err := up.Transfer(ctx, client.Request{
		Files: need, Stage: staged,
		Dest:  func(i int) string { return strings.TrimPrefix(stageName(list.Name(i)), newDir+"/") },
		Basis: bases.open,
		Progress: func(p client.Progress) {
			j.Progress(status.Progress{Phase: "fetch", FilesDone: p.Files, FilesTotal: p.FilesTotal, BytesDone: p.Bytes, BytesTotal: p.BytesTotal})
		},
	})
	stop()
	if err != nil {
		return nil, errors.Join(err, s.checkpoint())
	}
	return res.Failed, nil
}

// checkpointInterval bounds what a power cut during a transfer costs.
const checkpointInterval = 2 * time.Minute

// checkpoints makes what has arrived safe from time to time, until the function
// that it returns is called.
func (j *Job) checkpoints(s *stage) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(checkpointInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if err := s.checkpoint(); err != nil {
					j.Log.Warn("checkpoint failed", "project", j.Project.Name, "err", err)
				}
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// missing returns the files of the plan whose content the stage does not hold
// yet, after checking that the disk has room for them.
func (j *Job) missing(s *stage, list *flist.List, p *plan.Plan) ([]int, error) {
	if err := s.makeFolders(); err != nil {
		return nil, err
	}
	root, err := tree.Open(s.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	leftovers, err := s.leftovers(root)
	if err != nil {
		return nil, err
	}
	if len(leftovers) == 0 {
		return p.Fetch, j.room(p, 0, 0)
	}
	trusted := s.trusted()
	need := make([]int, 0, len(p.Fetch))
	var have, files int64
	for _, i := range p.Fetch {
		name := stageName(list.Name(i))
		if size, ok := leftovers[name]; ok {
			have += size
			files++
			delete(leftovers, name)
		} else {
			need = append(need, i)
			continue
		}
		if staged(root, list, i, trusted) {
			continue
		}
		need = append(need, i)
		if err := s.unfinished(name); err != nil {
			return nil, err
		}
	}
	if err := s.discard(leftovers); err != nil {
		return nil, err
	}
	return need, j.room(p, have, files)
}

// staged reports whether file i is complete in the stage. A file that may have
// lost its data in a power cut is not: it serves as basis and is fetched again.
func staged(root *tree.Root, list *flist.List, i int, trusted int64) bool {
	st, err := root.Stat(stageName(list.Name(i)))
	sec, nsec := list.ModTime(i)
	return err == nil && st.IsRegular() && st.Size == list.Size(i) && st.Sec == sec && st.Nsec == nsec && st.Ctime < trusted
}

// spareInodes is what must be left of them for all that is not content: the
// folders of stages, trash, states and logs.
const spareInodes = 4096

// room checks that the disk can hold what is to be fetched and made, of which
// the stage holds some files with have bytes already. It counts whole blocks, and
// some inodes for directories of our own.
func (j *Job) room(p *plan.Plan, have, files int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(Staging(j.Stage), &st); err != nil {
		return fmt.Errorf("check disk space: %w", err)
	}
	need := p.Counts.FetchBytes + p.Counts.FetchFiles*4096 - have
	free := int64(st.Bavail)*st.Bsize - j.Reserve
	if need > 0 && need > free {
		return fmt.Errorf("%w: %d MiB to fetch, %d MiB free beyond the reserve of %d MiB", ErrFull, need>>20, free>>20, j.Reserve>>20)
	}
	return inodes(&st, p.Counts.Inodes-files)
}

// inodes checks that the file system can hold so many more files, directories
// and links. One that says it has none makes them as needed.
func inodes(st *unix.Statfs_t, need int64) error {
	if st.Files == 0 || need <= 0 || need+spareInodes <= int64(st.Ffree) {
		return nil
	}
	return fmt.Errorf("%w: %d inodes to make, %d free with %d to be spared", ErrFull, need, st.Ffree, spareInodes)
}

// verify checks that every file of the plan is in the stage with its size and
// that the index files fit together, and makes the stage safe.
func (j *Job) verify(s *stage, list *flist.List, p *plan.Plan, failed map[int]error) (map[int]error, error) {
	if err := j.fault("verify"); err != nil {
		return nil, err
	}
	j.Progress(status.Progress{Phase: "verify", FilesTotal: p.Counts.FetchFiles})
	root, err := tree.Open(s.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if failed == nil {
		failed = map[int]error{}
	}
	for _, i := range p.Fetch {
		if failed[i] != nil {
			continue
		}
		st, err := root.Stat(stageName(list.Name(i)))
		switch {
		case err != nil:
			failed[i] = err
		case !st.IsRegular() || st.Size != list.Size(i):
			failed[i] = fmt.Errorf("%d bytes instead of %d", st.Size, list.Size(i))
		}
	}
	if err := s.checkpoint(); err != nil { // reading all of it may take long
		return nil, err
	}
	if !j.Tolerate && (len(failed) == 0 || j.TolerateFailed) {
		in := j.verifyInput(s, list, p)
		wrong := map[int]error{}
		in.Wrong = func(i int) {
			i = p.Content(i)
			wrong[i] = fmt.Errorf("%w: an index has another sum for %q", verify.ErrInconsistent, list.Name(i))
			os.Remove(s.path(stageName(list.Name(i)))) // so that it is fetched anew
		}
		if faults := verify.Check(in, p.Indexes()); len(faults) > 0 {
			failed = faults
			maps.Copy(failed, wrong)
		}
	}
	return failed, nil
}

// guard refuses to replace what index files name that stay as they are.
func (j *Job) guard(s *stage, list *flist.List, p *plan.Plan) error {
	if j.Tolerate || len(p.Replaced)+len(p.ReplacedIndexes) == 0 {
		return nil
	}
	unchanged := p.UnchangedIndexes(func(base string) bool { return verify.Reads(j.Project.Kind, base) })
	return verify.Guard(j.verifyInput(s, list, p), unchanged, p.Replaced, p.ReplacedIndexes)
}

// verifyInput gives the check of index files the content as it will be.
func (j *Job) verifyInput(s *stage, list *flist.List, p *plan.Plan) verify.Input {
	return verify.Input{
		List: list, Kind: j.Project.Kind, Fetched: p.Changed, Partial: len(j.Project.Filter) > 0 || j.Project.Upstream.Path != "",
		Open: func(i int) (io.ReadCloser, error) {
			dir, name := j.Tree, list.Name(p.Content(i))
			if p.Fetched(p.Content(i)) {
				dir, name = s.dir, stageName(name)
			}
			root, err := tree.Open(dir)
			if err != nil {
				return nil, err
			}
			defer root.Close()
			return root.OpenFile(name)
		},
	}
}
