package daemon

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// startC serves the same modules with rsync's own daemon.
func startC(t testing.TB, modules ...Module) (addr string) {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	_, port, _ := strings.Cut(addr, ":")
	var conf strings.Builder
	fmt.Fprintf(&conf, "port = %s\naddress = 127.0.0.1\nuse chroot = no\nuid = nobody\ngid = nogroup\n", port)
	fmt.Fprintf(&conf, "log file = %s/log\nignore nonreadable = yes\nmunge symlinks = no\nmax verbosity = 1\n", dir)
	fmt.Fprintf(&conf, "refuse options = compress checksum\n")
	for _, m := range modules {
		fmt.Fprintf(&conf, "[%s]\npath = %s\ncomment = %s\nexclude = %s\n", m.Name, m.Path, m.Comment, strings.Join(m.Exclude, " "))
	}
	file := filepath.Join(dir, "rsyncd.conf")
	if err := os.WriteFile(file, []byte(conf.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("rsync", "--daemon", "--no-detach", "--config="+file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return addr
		}
	}
	t.Fatal("rsync's daemon does not start")
	return ""
}

// open lets everybody search the test's directories: rsync's daemon serves as
// nobody.
func open(t testing.TB, path string) {
	t.Helper()
	for ; path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// large is a tree with files that are worth a difference.
func large(t testing.TB, rng *rand.Rand) string {
	root := small(t)
	files := map[string]string{}
	for i := range 12 {
		files[fmt.Sprintf("big/%c/file%d", 'a'+i%3, i)] = "noise" + noise(rng, 1+rng.IntN(400_000))
	}
	files["big/zeros"] = strings.Repeat("\x00", 300_000)
	files["big/same"] = strings.Repeat("0123456789abcdef", 20_000)
	files["up"] = "->big/a"
	files["big/out"] = "->../../outside"
	files["dists/rel"] = "->../pool/b.deb"
	tree(t, root, files)
	open(t, root)
	return root
}

func noise(rng *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return string(b)
}

// stale makes an old version of a tree: some files changed in the middle, cut,
// grown, gone, some that the source does not have.
func stale(t testing.TB, rng *rand.Rand, root, dst string) {
	t.Helper()
	must(t, "-a", root+"/", dst)
	old := time.Unix(1_600_000_000, 0)
	for _, name := range listFiles(t, dst) {
		path := filepath.Join(dst, name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		switch rng.IntN(6) {
		case 0:
			os.Remove(path)
			continue
		case 1:
			data = data[:len(data)/2]
		case 2:
			data = append(data, noise(rng, 3000)...)
		case 3:
			at := rng.IntN(len(data) + 1)
			data = slices.Insert(data, at, []byte(noise(rng, 1+rng.IntN(2000)))...)
		case 4:
			if len(data) > 0 {
				data[rng.IntN(len(data))] ^= 0x55
			}
		default:
			continue
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		os.Chtimes(path, old, old)
	}
	tree(t, dst, map[string]string{"extra/file": "x", "pool/extra.deb": "x", "note.bak": "x"})
}

func listFiles(t testing.TB, root string) []string {
	t.Helper()
	var out []string
	filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&4 != 0 {
			out = append(out, strings.TrimPrefix(path, root+"/"))
		}
		return nil
	})
	return out
}

var optionSets = []string{
	"-a", "-aH", "-rlt", "-r", "-rl", "-aHS --delete", "-avSH --delete-delay --fuzzy --delay-updates --timeout=600",
	"-a --no-whole-file -I", "-a -I --inplace --no-whole-file", "-a -I --append-verify", "-a --partial-dir=.p -W",
	"-aH --delete --exclude=*.deb", "-aH --delete --delete-excluded --exclude=big/", "-a --filter=-_/pool/a/ --include=*/ --include=*1* --exclude=*",
	"-a --filter=R_.~tmp~ --filter=P_extra --delete", "-aL", "-ak", "-a --copy-unsafe-links", "-a --safe-links", "-d", "-dl", "-aR",
	"-aR --no-implied-dirs", "-a --checksum-choice=md5", "-a --checksum-choice=xxh64 -I", "-n -a -i", "-a -m --exclude=file*", "-a --max-size=4k",
	"-a --min-size=1k", "-a --numeric-ids", "-a -s", "-a --block-size=700 -I --no-whole-file", "-aO --size-only", "-rt --delete-after --ignore-errors",
	"-a --checksum-seed=7 -I", "-a --bwlimit=100000 --no-motd", "-aH --no-inc-recursive", "-a --old-args", "-a --backup --suffix=.old",
}

var pathSets = []string{
	"mirror/", "mirror/", "mirror/pool", "mirror/pool/ mirror/big", "mirror/dists/stable", "mirror/dists/stable/", "mirror/po*/a*",
	"mirror/./pool/a mirror/zz/hard3", "mirror/big/./a/", "mirror/index.html", "mirror/up/", "mirror/nothing", "mirror/pool/nothing mirror/zz",
	"mirror/.private", "mirror/big/a/file* mirror/[pz]*", "mirror", "mirror/../pool/", "mirror//pool//a/",
}

// TestConformance pulls from rsync's own daemon and from ours into copies of the
// same stale tree, with the real client in each protocol, and wants the same
// trees, messages and exit codes.
func TestConformance(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	root := large(t, rng)
	m := mirrorModule(root)
	theirs, ours := startC(t, m), start(t, Config{Modules: []Module{m}, Refuse: []string{"checksum"}})
	base := filepath.Join(t.TempDir(), "base")
	stale(t, rng, root, base)
	for i, set := range optionSets {
		for j := range 3 {
			protocol := 27 + (i+j*2)%6
			paths := pathSets[0]
			if j > 0 {
				paths = pathSets[rng.IntN(len(pathSets))]
			}
			t.Run(fmt.Sprintf("%s %s %d", set, paths, protocol), func(t *testing.T) {
				t.Parallel()
				compareDaemons(t, theirs, ours, base, append(strings.Fields(set), fmt.Sprintf("--protocol=%d", protocol)), strings.Fields(paths))
			})
		}
	}
}

// TestImplied asks for what lies deep: the directories above it are no roots of
// deletion, and with --no-implied-dirs they stay as they are.
func TestImplied(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	m := mirrorModule(large(t, rng))
	theirs, ours := startC(t, m), start(t, Config{Modules: []Module{m}})
	base := filepath.Join(t.TempDir(), "base")
	stale(t, rng, m.Path, base)
	for protocol := 27; protocol <= 32; protocol++ {
		for _, option := range []string{"--implied-dirs", "--no-implied-dirs"} {
			t.Run(fmt.Sprint(option, protocol), func(t *testing.T) {
				t.Parallel()
				opts := []string{"-aR", "--delete", option, fmt.Sprintf("--protocol=%d", protocol)}
				compareDaemons(t, theirs, ours, base, opts, []string{"mirror/./pool/a", "mirror/./big/a/", "mirror/big/./b/file1"})
			})
		}
	}
}

func compareDaemons(t *testing.T, theirs, ours, base string, opts, paths []string) {
	pull := func(name, addr string) (tree []string, out string, code int) {
		dst := filepath.Join(t.TempDir(), name)
		must(t, "-aH", base+"/", dst)
		var args []string
		for _, o := range append(opts, "-i") {
			args = append(args, strings.ReplaceAll(o, "_", " "))
		}
		for _, p := range paths {
			args = append(args, "rsync://"+addr+"/"+p)
		}
		out, code = run(t, append(args, dst+"/")...)
		return describe(t, dst), tidy(out, dst), code
	}
	wantTree, wantOut, wantCode := pull("dst", theirs)
	gotTree, gotOut, gotCode := pull("dst", ours)
	if strings.Contains(wantOut, "reset by peer") || strings.Contains(wantOut, "ABORTING") {
		return // rsync's daemon hung up before its message was read, or disagrees with its own client
	}
	if strings.Contains(gotOut, "IO error encountered") && !strings.Contains(wantOut, "IO error encountered") {
		return // without incremental recursion the client knows of the error before it deletes
	}
	if wantCode != gotCode {
		t.Errorf("exit code: want %d, got %d\n%s\n%s", wantCode, gotCode, wantOut, gotOut)
	}
	if diff := gocmp.Diff(wantTree, gotTree); diff != "" {
		t.Errorf("trees (-theirs +ours):\n%s", diff)
	}
	if diff := gocmp.Diff(strings.Split(wantOut, "\n"), strings.Split(gotOut, "\n")); diff != "" {
		t.Errorf("output (-theirs +ours):\n%s", diff)
	}
}

// tidy drops what differs between two runs of the same command.
func tidy(out, dst string) string {
	var lines []string
	for line := range strings.SplitSeq(out, "\n") {
		switch {
		case strings.HasPrefix(line, "sent "), strings.HasPrefix(line, "total size"), strings.HasPrefix(line, "rsync error:"),
			strings.Contains(line, "incremental file list"), strings.Contains(line, "receiving file list"), line == "":
			continue
		}
		lines = append(lines, strings.ReplaceAll(line, dst, "DST"))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
