package daemon

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
)

// Parts that options and rules are generated of.
var (
	bases = []string{"-a", "-aH", "-r", "-rl", "-rlt", "-rlptHS", "-dlt", "-aR"}
	atoms = []string{
		"-I", "--inplace", "--no-whole-file", "-W", "--delete", "--delete-after", "--delete-delay", "--delete-excluded", "--delay-updates",
		"--fuzzy", "-S", "-m", "-O", "-J", "-u", "--existing", "--ignore-existing", "--size-only", "--numeric-ids", "--safe-links",
		"--copy-unsafe-links", "-k", "-L", "--block-size=500", "--checksum-choice=md5", "--no-links", "--no-perms", "--no-times", "--partial",
		"--append-verify", "--ignore-errors", "--force", "--max-delete=3", "-x", "--no-i-r", "-n", "-s", "--old-args", "--timeout=99",
	}
	ruleKinds = []string{"-", "+", "-", "H", "S", "P", "R", "-s", "-p", "-!"}
	patterns  = []string{
		"*.deb", "/pool", "pool/", "/pool/**", "**/file*", "big/*/file[0-5]", "*1*", "/big/a/***", "dists/*/", "*", "*/", "/*/", "zeros", "a?b*",
		"/odd_names/*", "hard?", ".*", "/big/[!ab]/", "**a/", "[[:digit:]]*", "/!first", "same",
	}
)

// TestGenerated compares the daemons with generated options, rules and paths on
// generated trees.
func TestGenerated(t *testing.T) {
	for seed := range uint64(2) {
		rng := rand.New(rand.NewPCG(seed, 11))
		m := mirrorModule(large(t, rng))
		theirs, ours := startC(t, m), start(t, Config{Modules: []Module{m}, Refuse: []string{"checksum"}})
		base := filepath.Join(t.TempDir(), "base")
		stale(t, rng, m.Path, base)
		for i := range 15 {
			opts, paths := generate(rng)
			t.Run(fmt.Sprintf("%d.%d", seed, i), func(t *testing.T) {
				t.Parallel()
				compareDaemons(t, theirs, ours, base, opts, paths)
				if t.Failed() {
					t.Logf("rsync %q of %q", opts, paths)
				}
			})
		}
	}
}

func generate(rng *rand.Rand) (opts, paths []string) {
	pick := func(list []string) string { return list[rng.IntN(len(list))] }
	opts = []string{pick(bases), fmt.Sprintf("--protocol=%d", 27+rng.IntN(6))}
	for range rng.IntN(4) {
		opts = append(opts, pick(atoms))
	}
	for range rng.IntN(4) {
		opts = append(opts, "--filter="+pick(ruleKinds)+"_"+pick(patterns))
	}
	return opts, strings.Fields(pick(pathSets))
}
