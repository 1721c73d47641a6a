package sync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"micromirror/packages/mirror"
	"micromirror/packages/mirror/edition"
	"micromirror/packages/mirror/plan"
	"micromirror/packages/mirror/status"
	"micromirror/packages/mirror/tree"
	"micromirror/packages/mirror/worker"
	"micromirror/packages/project"
	"micromirror/packages/rsync/flist"
)

// whole are the scenarios of whole runs, from the list to the last file
// published: those of clients, what a push brings, and the memory that a list of
// three million entries takes.
func whole() []scenario {
	return append(scenarios(), scenario{pushed, "20 files of 300,000 changed", makeMany, twentyBehind, age, false})
}

// recipe is how the mirrors of the fleet call rsync.
var recipe = [...]string{"-avSH", "--filter=R .~tmp~", "--delete-delay", "--fuzzy", "--delay-updates", "--timeout=600"}

// measureWhole compares a run of the mirror with rsync called by the recipe.
func measureWhole(ctx context.Context, o *Options, s scenario) (Row, error) {
	from, err := o.offer(ctx, s)
	if err != nil {
		return Row{}, err
	}
	defer from.stop()
	dst := from.beside("whole")
	tree := filepath.Join(dst, treeDir)
	clients := [][]string{
		append(slices.Clone(o.Whole), from.addr, "src", dst),
		append(append([]string{"rsync"}, recipe[:]...), from.url, tree+"/"),
	}
	if s.id == pushed {
		clients = append(clients, append(append([]string{"rsync"}, recipe[:]...), "--list-only", from.url))
	}
	medians, err := o.byTurns(dst, len(clients), func(which int) (Figures, error) {
		if err := s.discard(dst); err != nil {
			return Figures{}, err
		}
		if err := prepare(s, from.src, tree); err != nil {
			return Figures{}, err
		}
		return timed(ctx, o, clients[which])
	})
	if err != nil {
		return Row{}, err
	}
	row := Row{Side: "run", Scenario: s.id, Name: s.name, Ours: medians[0], Rsync: medians[1]}
	if s.id == pushed {
		row.Transfer = medians[2].Wall
	}
	return row, nil
}

// pushed is the run that a push starts.
const pushed = "g"

// treeDir is where, below the destination, the tree is.
const treeDir = "mirror/tree"

// discard removes what a run left, but for the tree if that is to be kept.
func (s scenario) discard(dst string) error {
	if s.again == nil {
		return s.remove(dst)
	}
	mirrors := filepath.Dir(filepath.Join(dst, treeDir))
	for dir, keep := range map[string]string{dst: mirrors, mirrors: filepath.Join(dst, treeDir)} {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			if name := filepath.Join(dir, e.Name()); name != keep {
				if err := os.RemoveAll(name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// twentyBehind makes a destination that lacks the newest version of 20 files.
func twentyBehind(src, dst string) error {
	if err := cloneTree(src, dst); err != nil {
		return err
	}
	return age(dst)
}

// age gives 20 files an older version.
func age(dst string) error {
	left := 20
	return filepath.WalkDir(dst, func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if left--; left == 0 {
			err = filepath.SkipAll
		}
		if werr := os.WriteFile(name, []byte("older"), 0o644); werr != nil {
			return werr
		}
		return err
	})
}

// Whole does a run of the mirror below dst as syncd does it, the first half in a
// process of its own, which fetcher starts.
func Whole(ctx context.Context, fetcher []string, addr, module, dst string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	p := project.Complete("tree", project.Project{Kind: "files", Rate: 1 << 40, Upstream: project.Upstream{Host: addr, Module: module}})
	j := mirror.Job{
		Project: p, Tree: filepath.Join(dst, treeDir), Stage: filepath.Join(dst, "stage"), Editions: filepath.Join(dst, "mirror", edition.Folder),
		Now: time.Now, Wait: mirror.Wait, Log: log, Progress: func(status.Progress) {},
	}
	_, err := mirror.Run(ctx, j, func(ctx context.Context, j mirror.Job) (mirror.Outcome, error) {
		return worker.Fetch(ctx, fetcher, worker.Task{
			Name: p.Name, Project: p, Tree: j.Tree, Stage: j.Stage, GoneFile: filepath.Join(dst, "gone"),
		}, j.Progress)
	})
	return err
}

// Fetch is the process that does the first half.
func Fetch(ctx context.Context, in io.Reader, out io.Writer) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	return worker.Main(ctx, in, out, func(worker.Task) error { return nil }, log)
}

// Plan makes a list of so many entries, the plan for an empty tree, and writes it:
// what a worker's memory must hold. Names are as long as those of packages.
func Plan(entries int, dir string) error {
	debug.SetMemoryLimit(worker.MemoryLimit)
	b := flist.NewBuilder(flist.Limits{})
	for i := range entries {
		f := flist.File{
			Name: fmt.Sprintf("pool/main/%02x/package-%d/package-name-%d_1.%d-1_amd64.deb", i%256, i/8, i, i%10),
			Mode: 0o100644, Size: int64(i), ModTime: int64(1e9 + i), HardLink: flist.NoHardLink,
		}
		if i%8 == 0 {
			f.Name, f.Mode = strings.TrimSuffix(f.Name, f.Name[strings.LastIndexByte(f.Name, '/'):]), 0o40755
		}
		if _, err := b.Add(f); err != nil {
			return err
		}
	}
	list, err := b.Finish()
	if err != nil {
		return err
	}
	root, err := tree.Open(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	p := project.Complete("tree", project.Project{Kind: "apt"})
	made, err := plan.Make(plan.Input{
		List: list, Tree: root, Phase: p.Phase, Escapes: plan.Escapes(p.Path, false),
		Own: func(string) bool { return false }, Now: time.Now(), Grace: time.Hour,
	})
	if err != nil {
		return err
	}
	return made.Write(io.Discard, p.Name, func(i int) string { return "new/" + list.Base(i) }, nil, true)
}

// measurePlan tells the memory that a list of three million entries takes, beside
// the aim.
func measurePlan(ctx context.Context, o *Options, s scenario) (Row, error) {
	dir := filepath.Join(o.Dir, s.id)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Row{}, err
	}
	f, err := timed(ctx, o, append(slices.Clone(o.Plan), fmt.Sprint(int(o.Scale*threeMillion)), dir))
	return Row{Side: "run", Scenario: s.id, Name: s.name, Ours: f, Rsync: Figures{Wall: f.Wall, CPU: f.CPU, RSS: int64(o.Scale * planAim)}}, err
}

const (
	threeMillion = 3_000_000
	planAim      = 512 << 10 // KiB
)

func planned() scenario { return scenario{id: "h", name: "list of 3,000,000 entries (aim 512 MiB)"} }
