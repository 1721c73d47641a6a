package client

import (
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"micromirror/packages/rsync/filter"
	"micromirror/packages/rsync/flist"
	"micromirror/packages/rsync/wire"
)

var rounds = flag.Int("conform.rounds", 18, "how many random trees to compare with rsync")

// TestConform brings random trees from a random former state to that of a
// random source, through random rules: once by rsync's own client and once by
// ours, each protocol in turn. Both must end the same.
func TestConform(t *testing.T) {
	span := wire.MaxProtocol - wire.MinProtocol + 1
	for seed := range *rounds {
		protocol := wire.MinProtocol + seed%span
		t.Run(fmt.Sprintf("seed %d protocol %d", seed, protocol), func(t *testing.T) {
			conform(t, uint64(seed), protocol)
		})
	}
}

func conform(t *testing.T, seed uint64, protocol int) {
	rng := rand.New(rand.NewPCG(seed, 99))
	src, theirs, ours := t.TempDir(), t.TempDir(), t.TempDir()
	randomTree(t, rng, src, true)
	before := rng.Uint64()
	randomTree(t, rand.New(rand.NewPCG(before, 0)), theirs, false)
	randomTree(t, rand.New(rand.NewPCG(before, 0)), ours, false)
	if rng.IntN(2) == 0 {
		agePart(t, rng, src, theirs, ours)
	}
	rules := randomRules(rng)
	p := startPeer(t, src)

	args := []string{"-rlptH", "--delete", "--delete-excluded", fmt.Sprintf("--protocol=%d", protocol)}
	for _, r := range rules {
		args = append(args, "--filter="+r)
	}
	args = append(args, "rsync://"+p.addr+"/m/", theirs+"/")
	if out, err := exec.Command("rsync", args...).CombinedOutput(); err != nil {
		t.Fatalf("rsync %q: %v: %s", args, err, out)
	}

	list := &filter.List{DeleteExcluded: true}
	for _, r := range rules {
		if err := list.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	cfg := p.config()
	cfg.Protocol = protocol
	pull(t, cfg, ListOptions{Filter: list}, ours, nil)
	if diff := gocmp.Diff(seen(t, theirs, protocol), seen(t, ours, protocol)); diff != "" {
		t.Errorf("rules %q: -rsync +ours:\n%s", rules, diff)
	}
}

// seen is what a protocol can tell of a tree: what has the right second may
// keep its nanoseconds.
func seen(t testing.TB, dir string, protocol int) map[string]string {
	t.Helper()
	got := describe(t, dir)
	for name := range got {
		if protocol < 31 {
			got[name] = wholeSeconds(got[name])
		}
	}
	return got
}

// randomTree makes names that sort differently with and without regard to
// directories, and files, directories and links of the same names.
func randomTree(t testing.TB, rng *rand.Rand, root string, links bool) {
	t.Helper()
	dirs := []string{root}
	var files []string
	for range 20 + rng.IntN(60) {
		path := filepath.Join(dirs[rng.IntN(len(dirs))], randomName(rng))
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		var err error
		switch k := rng.IntN(10); {
		case k < 3:
			err = os.Mkdir(path, fs.FileMode(0o700+rng.IntN(64)))
			dirs = append(dirs, path)
		case k < 4:
			err = os.Symlink(randomName(rng), path)
		case k < 6 && links && len(files) > 0:
			err = os.Link(files[rng.IntN(len(files))], path)
		default:
			err = os.WriteFile(path, noise(rng, rng.IntN(3)*rng.IntN(5000)), fs.FileMode(0o600+rng.IntN(64)))
			files = append(files, path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	all := slices.Concat(dirs, files)
	slices.Reverse(all)
	for _, path := range all {
		at := time.Unix(1_600_000_000+rng.Int64N(4), rng.Int64N(2)*rng.Int64N(1e9))
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	linkTimes(t, root)
}

// linkTimes gives symbolic links a time that does not depend on the run.
func linkTimes(t testing.TB, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if d.Type()&fs.ModeSymlink == 0 {
			return err
		}
		ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: 1_500_000_000}}
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func randomName(rng *rand.Rand) string {
	const letters = "ab-.0~é"
	name := make([]byte, 1+rng.IntN(3))
	for i := range name {
		name[i] = letters[rng.IntN(len(letters))]
	}
	if s := string(name); s != "." && s != ".." {
		return s
	}
	return "a"
}

func randomRules(rng *rand.Rand) []string {
	all := []string{"- a", "- /b*", "+ b/", "- *~", "+ a*", "- .?", "- b/a", "- **/0", "+ */", "- -*", "- [!a-b]?", "+ /a/***", "- *é*"}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:rng.IntN(4)]
}

// agePart puts a part of the source, some of it altered, into both former
// states, so that there is something to be kept and something to be updated.
func agePart(t testing.TB, rng *rand.Rand, src string, targets ...string) {
	t.Helper()
	names, err := os.ReadDir(src)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		alter := rng.IntN(3) == 0
		for _, target := range targets {
			path := filepath.Join(target, n.Name())
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			// Not -a: links of the former state would be kept by rsync.
			if out, err := exec.Command("cp", "-dR", "--preserve=mode,timestamps", filepath.Join(src, n.Name()), path).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if alter && n.Type().IsRegular() {
				writeFile(t, path, []byte("altered"))
			}
		}
	}
}

// clearStale removes what the list does not have, or has as something else.
func clearStale(t testing.TB, list *flist.List, dst string) {
	t.Helper()
	var gone []string
	err := filepath.WalkDir(dst, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dst, path)
		i, ok := list.Find(name)
		same := ok && (list.Mode(i)&flist.ModeType == flist.ModeDir) == d.IsDir() &&
			(list.Mode(i)&flist.ModeType == flist.ModeSymlink) == (d.Type() == fs.ModeSymlink)
		if !same {
			gone = append(gone, path)
			if d.IsDir() {
				return fs.SkipDir
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range gone {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
}
