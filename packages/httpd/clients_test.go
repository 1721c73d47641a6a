package httpd

import (
	"crypto/sha256"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The programs that fetch from mirrors, as Debian ships them: curl wget aria2 axel
// lftp zsync rclone. For package managers see repositories_test.go.

// client runs a program in a fresh directory and returns that.
func (f *fixture) client(name string, args ...string) string {
	f.Helper()
	dir := f.TempDir()
	f.clientIn(dir, name, args...)
	return dir
}

func (f *fixture) clientIn(dir, name string, args ...string) string {
	f.Helper()
	if _, err := exec.LookPath(name); err != nil {
		f.Fatalf("%v: install the package that has %s", err, name)
	}
	cmd := exec.CommandContext(f.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// same compares two files, and their times if asked.
func (f *fixture) same(got, want string, times bool) {
	f.Helper()
	a, err := os.ReadFile(got)
	f.must(err)
	b, err := os.ReadFile(want)
	f.must(err)
	if sha256.Sum256(a) != sha256.Sum256(b) {
		f.Errorf("%s differs from %s: %d and %d bytes", got, want, len(a), len(b))
	}
	if times && f.time(got) != f.time(want) {
		f.Errorf("%s was modified %v, want %v", got, f.time(got), f.time(want))
	}
}

func (f *fixture) time(name string) int64 {
	f.Helper()
	info, err := os.Stat(name)
	f.must(err)
	return info.ModTime().Unix()
}

// large is a file that clients fetch in parts; its content tells every part from
// every other.
func (f *fixture) large() string {
	f.Helper()
	var b strings.Builder
	for n := range uint32(6 << 20) {
		n *= 2654435761
		b.Write([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	f.write("debian/image.iso", b.String())
	return f.path("debian/image.iso")
}

func TestCurl(t *testing.T) {
	f := newFixture(t)
	want := f.large()
	url := "http://" + f.addr + "/debian/image.iso"
	dir := f.client("curl", "-sfR", "-o", "x", url)
	f.same(filepath.Join(dir, "x"), want, true)
	f.must(os.Truncate(filepath.Join(dir, "x"), 1_234_567))
	f.clientIn(dir, "curl", "-sf", "-C", "-", "-o", "x", url)
	f.same(filepath.Join(dir, "x"), want, false)
	out := f.clientIn(dir, "curl", "-s", "-z", want, "-o", "y", "-w", "%{http_code}", url)
	if out != "304" {
		t.Errorf("unchanged file: status %s, want 304", out)
	}
	for _, args := range [][]string{{"--http1.0"}, {"--request-target", url}, {"-H", "Expect: 100-continue"}} {
		dir := f.client("curl", append(args, "-sf", "-o", "x", url)...)
		f.same(filepath.Join(dir, "x"), want, false)
	}
}

func TestWgetRecursive(t *testing.T) {
	f := newFixture(t)
	// wget decodes the names of the files that it writes twice.
	f.must(os.Rename(f.path("debian/pool/a+b:c d%20é.deb"), f.path("debian/pool/a+b:c dé.deb")))
	dir := f.client("wget", "-q", "-r", "-np", "-nH", "--reject", "index.html*", "http://"+f.addr+"/debian/pool/")
	f.sameTree(filepath.Join(dir, "debian/pool"), f.path("debian/pool"))
}

func TestLftpMirror(t *testing.T) {
	f := newFixture(t)
	dir := f.client("lftp", "-c", "open http://"+f.addr+"/debian/; mirror --parallel=4 pool pool")
	f.sameTree(filepath.Join(dir, "pool"), f.path("debian/pool"))
}

// sameTree compares two directories; names that are no UTF-8 are a matter
// between client and terminal and left out.
func (f *fixture) sameTree(got, want string) {
	f.Helper()
	if diff := cmp.Diff(f.names(want), f.names(got)); diff != "" {
		f.Errorf("names: -want +got:\n%s", diff)
	}
	for _, name := range f.names(want) {
		f.same(filepath.Join(got, name), filepath.Join(want, name), true)
	}
}

func (f *fixture) names(dir string) []string {
	f.Helper()
	var out []string
	f.must(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if name := strings.TrimPrefix(path, dir+"/"); err == nil && !d.IsDir() && !strings.HasPrefix(name, "bad") {
			out = append(out, name)
		}
		return err
	}))
	return out
}

func TestRclone(t *testing.T) {
	f := newFixture(t)
	dir := f.client("rclone", "copy", ":http:pool", "pool", "--http-url", "http://"+f.addr+"/debian/", "--config", "/dev/null")
	f.sameTree(filepath.Join(dir, "pool"), f.path("debian/pool"))
}

func TestGoaccessReadsTheLog(t *testing.T) {
	f := newFixture(t)
	f.get("GET", inRelease, `User-Agent: a "quoted" \ agent`, "Referer: http://a.example/")
	f.get("GET", "/debian/%zz")
	f.get("GET", "/debian/pool/bad%ff.iso", unusual)
	f.stop()
	dir := f.client("goaccess", filepath.Join(f.dir, "logs/access.log"), "--no-progress", "-o", "report.json",
		`--log-format=%h %^ %^ [%d:%t %^] "%r" %s %b "%R" "%u" %^ %^ %^ %^ %T`, "--date-format=%d/%b/%Y", "--time-format=%H:%M:%S")
	data, err := os.ReadFile(filepath.Join(dir, "report.json"))
	f.must(err)
	var report struct {
		General struct {
			Valid  int `json:"valid_requests"`
			Failed int `json:"failed_requests"`
		} `json:"general"`
	}
	f.must(json.Unmarshal(data, &report))
	if report.General.Valid != 3 || report.General.Failed != 0 {
		t.Errorf("goaccess takes %d lines and refuses %d, want 3 and 0", report.General.Valid, report.General.Failed)
	}
}

func TestAria2InSegments(t *testing.T) {
	f := newFixture(t)
	want := f.large()
	dir := f.client("aria2c", "-q", "-R", "-x16", "-s16", "-k1M", "-o", "x", "http://"+f.addr+"/debian/image.iso")
	f.same(filepath.Join(dir, "x"), want, true)
}

func TestAxel(t *testing.T) {
	f := newFixture(t)
	want := f.large()
	dir := f.client("axel", "-q", "-n", "8", "-o", "x", "http://"+f.addr+"/debian/image.iso")
	f.same(filepath.Join(dir, "x"), want, false)
}

func TestZsync(t *testing.T) {
	f := newFixture(t)
	want := f.large()
	dir := f.client("zsyncmake", "-u", "image.iso", "-o", "x.zsync", want)
	control, err := os.ReadFile(filepath.Join(dir, "x.zsync"))
	f.must(err)
	f.write("debian/image.iso.zsync", string(control))
	data, err := os.ReadFile(want)
	f.must(err)
	for i := 0; i < len(data); i += 3 << 20 { // an old version to start from
		data[i] ^= 0xff
	}
	f.must(os.WriteFile(filepath.Join(dir, "old"), data, 0o644))
	f.clientIn(dir, "zsync", "-q", "-i", "old", "http://"+f.addr+"/debian/image.iso.zsync")
	f.same(filepath.Join(dir, "image.iso"), want, false)
}
