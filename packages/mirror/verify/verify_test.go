package verify

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"micromirror/packages/mirror/mirrortest"
)

// check checks the tree at dir as if all of it had just been fetched.
func check(t *testing.T, dir string, partial bool) error {
	t.Helper()
	return checkKind(t, "apt", dir, partial)
}

func checkKind(t *testing.T, kind, dir string, partial bool) error {
	t.Helper()
	u := &mirrortest.Upstream{Dir: dir}
	list, err := u.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var tops []int
	for i := range list.Len() {
		tops = append(tops, i)
	}
	faults := Check(Input{
		List: list, Kind: kind, Partial: partial, Fetched: func(int) bool { return true },
		Open: func(i int) (io.ReadCloser, error) { return os.Open(filepath.Join(dir, list.Name(i))) },
	}, tops)
	for _, err := range faults {
		if !errors.Is(err, ErrInconsistent) {
			t.Errorf("fault %v is of another kind", err)
		}
		return err
	}
	return nil
}

const packages = "Package: a\nFilename: pool/a.deb\nSize: 9\nDescription: x\n y\n\nPackage: b\nFilename: pool/b.deb\nSize: 9\n" +
	"SHA256: 09cc4f3bf8af8bd809dc1d3be96131068b189f0a5305a87d348222c2ed92db3f\n"

const sources = "Package: a\nDirectory: pool\nChecksums-Sha256:\n 41cf6794ba4200b839c53531555f0f3998df4cbb01a4d5cb0b94e3ca5e23947d 6 a.dsc\n" +
	" 90aebae315675cbf04612de4f7d5874850f48e0b8dd82becbeaa47ca93f5ebfb 3 a.tar\nFiles:\n 00 5 other\n"

func sum(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

func release(files map[string]string) string {
	var b strings.Builder
	b.WriteString("Origin: demo\nMD5Sum:\n 00 1 nothing\nSHA256:\n")
	for name, content := range files {
		fmt.Fprintf(&b, " %s %d %s\n", sum(content), len(content), name)
	}
	return b.String() + "Acquire-By-Hash: yes\n"
}

func gz(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

func TestAPT(t *testing.T) {
	good := []string{
		"pool/a.deb: package a", "pool/b.deb: package b", "pool/a.dsc: source", "pool/a.tar: tar",
		"dists/x/main/Packages.gz: " + gz(packages), "dists/x/main/Sources: " + sources,
		"dists/x/InRelease: " + release(map[string]string{"main/Packages.gz": gz(packages), "main/Sources": sources, "main/Packages": packages}),
	}
	tests := []struct {
		name   string
		change []string
		want   string
	}{
		{"consistent", nil, ""},
		{"older index of the same size", []string{"dists/x/main/Packages.gz: " + strings.Repeat("x", len(gz(packages)))}, "SHA-256"},
		{"older index", []string{"dists/x/main/Sources: Package: z\n"}, "bytes instead of"},
		{"package missing", []string{"-pool/b.deb"}, `"pool/b.deb" is not there`},
		{"package of another size", []string{"pool/b.deb: package b!"}, `"pool/b.deb" has 10 bytes instead of 9`},
		{"package of another version", []string{"pool/b.deb: package c"}, `"pool/b.deb" has another SHA-256 sum`},
		{"source of another version", []string{"pool/a.tar: rat"}, `"pool/a.tar" has another SHA-256 sum`},
		{"pool behind a link", []string{"-pool", "real/a.deb: package a", "real/b.deb: package b", "real/a.dsc: source", "real/a.tar: tar", "pool -> real"}, ""},
		{"package behind a link", []string{"pool/b.deb -> ../real/b", "real/b: package b"}, ""},
		{"package behind a link to nothing", []string{"pool/b.deb -> ../real/b"}, `"pool/b.deb" is not there`},
		{"package behind a circle", []string{"pool/b.deb -> c", "pool/c -> b.deb"}, `"pool/b.deb" is not there`},
		{"source missing", []string{"-pool/a.tar"}, `"pool/a.tar" is not there`},
		{"variant that is not kept", []string{"-dists/x/main/Sources"}, ""},
		{"leads out", []string{"dists/x/InRelease: " + release(map[string]string{"../../../x": ""})}, "leads out"},
		{"sum not by hash", []string{"dists/x/main/by-hash/SHA256/other: x"}, "by-hash/SHA256/"},
		{"garbage", []string{"dists/x/InRelease: SHA256:\n x\n"}, "not sum, size and name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := mirrortest.TempDir(t)
			mirrortest.Make(t, dir, good...)
			mirrortest.Make(t, dir, tt.change...)
			expect(t, check(t, dir, false), tt.want)
		})
	}
	dir := mirrortest.TempDir(t)
	mirrortest.Make(t, dir, append(good, "-pool/b.deb")...)
	expect(t, check(t, dir, true), "")
}

func expect(t *testing.T, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("error = %v, want %q", err, want)
	}
}

func TestRPM(t *testing.T) {
	primary := `<metadata><package type="rpm"><name>a</name><checksum type="sha256" pkgid="YES">` + sum("package a") + `</checksum><size package="9" installed="1"/><location href="Packages/a.rpm"/></package></metadata>`
	repomd := func(content string) string {
		return fmt.Sprintf(`<repomd><data type="primary"><checksum type="sha256">%s</checksum><location href="repodata/p.xml.gz"/><size>%d</size></data></repomd>`, sum(content), len(content))
	}
	good := []string{"os/Packages/a.rpm: package a", "os/repodata/p.xml.gz: " + gz(primary), "os/repodata/repomd.xml: " + repomd(gz(primary))}
	tests := []struct {
		name   string
		change []string
		want   string
	}{
		{"consistent", nil, ""},
		{"package missing", []string{"-os/Packages/a.rpm"}, `"os/Packages/a.rpm" is not there`},
		{"package of another size", []string{"os/Packages/a.rpm: x"}, "1 bytes instead of 9"},
		{"package of another version", []string{"os/Packages/a.rpm: package x"}, "SHA-256"},
		{"data missing", []string{"-os/repodata/p.xml.gz"}, "is not there"},
		{"older data", []string{"os/repodata/p.xml.gz: " + strings.Repeat("x", len(gz(primary)))}, "SHA-256"},
		{"garbage", []string{"os/repodata/repomd.xml: <repomd><data"}, "XML"},
		{"leads out", []string{`os/repodata/repomd.xml: <r><data><location href="../../x"/></data></r>`}, "leads out"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := mirrortest.TempDir(t)
			mirrortest.Make(t, dir, good...)
			mirrortest.Make(t, dir, tt.change...)
			expect(t, check(t, dir, false), tt.want)
		})
	}
}

// tarball packs a file.
func tarball(name, content string) string {
	var b strings.Builder
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
	io.WriteString(w, content)
	w.Close()
	return b.String()
}

func TestPacman(t *testing.T) {
	desc := func(file, content string) string {
		return tarball("a-1/desc", fmt.Sprintf("%%FILENAME%%\n%s\n\n%%CSIZE%%\n%d\n\n%%SHA256SUM%%\n%s\n", file, len(content), sum(content)))
	}
	good := []string{"core/os/a-1.pkg: package a", "core/os/core.db.tar.gz: " + gz(desc("a-1.pkg", "package a")), "core/os/core.db -> core.db.tar.gz"}
	tests := []struct {
		name   string
		change []string
		want   string
	}{
		{"consistent", nil, ""},
		{"package missing", []string{"-core/os/a-1.pkg"}, `"core/os/a-1.pkg" is not there`},
		{"package of another size", []string{"core/os/a-1.pkg: x"}, "1 bytes instead of 9"},
		{"package of another version", []string{"core/os/a-1.pkg: package b"}, "SHA-256"},
		{"package in a pool", []string{"core/os/a-1.pkg -> ../../pool/a", "pool/a: package a"}, ""},
		{"package not in the pool", []string{"core/os/a-1.pkg -> ../../pool/a"}, "is not there"},
		{"database that is a file", []string{"core/os/core.db: " + desc("b-1.pkg", "x")}, `"core/os/b-1.pkg" is not there`},
		{"leads out", []string{"core/os/core.db.tar.gz: " + gz(desc("../../../x", "x"))}, "leads out"},
		{"garbage", []string{"core/os/core.db.tar.gz: garbage"}, "read tarball"},
		{"no name", []string{"core/os/core.db.tar.gz: " + gz(tarball("a-1/desc", "%NAME%\na\n"))}, "names no file"},
		{"other members", []string{"core/os/core.db.tar.gz: " + gz(tarball("a-1/depends", "x"))}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := mirrortest.TempDir(t)
			mirrortest.Make(t, dir, good...)
			mirrortest.Make(t, dir, tt.change...)
			expect(t, checkKind(t, "pacman", dir, false), tt.want)
		})
	}
}

func TestAPK(t *testing.T) {
	index := func(text string) string {
		return gz(tarball(".SIGN.RSA.x", "signature")[:1024]) + gz(tarball("APKINDEX", text))
	}
	good := []string{"main/x86_64/a-1-r0.apk: package a", "main/x86_64/APKINDEX.tar.gz: " + index("C:Q1x=\nP:a\nV:1-r0\nS:9\n\n")}
	tests := []struct {
		name   string
		change []string
		want   string
	}{
		{"consistent", nil, ""},
		{"package missing", []string{"-main/x86_64/a-1-r0.apk"}, `"main/x86_64/a-1-r0.apk" is not there`},
		{"package of another size", []string{"main/x86_64/a-1-r0.apk: x"}, "1 bytes instead of 9"},
		{"no empty line at the end", []string{"main/x86_64/APKINDEX.tar.gz: " + index("P:b\nV:2\nS:1\n")}, `"main/x86_64/b-2.apk" is not there`},
		{"size that is none", []string{"main/x86_64/APKINDEX.tar.gz: " + index("P:a\nS:x\n")}, "is no number"},
		{"leads out", []string{"main/x86_64/APKINDEX.tar.gz: " + index("P:../../../a\nV:1\nS:1\n\n")}, "leads out"},
		{"garbage", []string{"main/x86_64/APKINDEX.tar.gz: x"}, "read tarball"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := mirrortest.TempDir(t)
			mirrortest.Make(t, dir, good...)
			mirrortest.Make(t, dir, tt.change...)
			expect(t, checkKind(t, "apk", dir, false), tt.want)
		})
	}
}

// TestRepoAdd shows that what pacman's own tool makes is consistent.
func TestRepoAdd(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"alpha", "beta"} {
		mirrortest.Make(t, dir, name+"/.PKGINFO: pkgname = "+name+"\npkgver = 1-1\narch = any\nsize = 1\n")
		run(t, "tar", "-C", filepath.Join(dir, name), "--zstd", "-cf", filepath.Join(dir, name+"-1-1-any.pkg.tar.zst"), ".PKGINFO")
	}
	run(t, "sh", "-c", "cd "+dir+" && repo-add -q x.db.tar.gz *.zst")
	if _, err := os.Stat(filepath.Join(dir, "x.db")); err != nil {
		t.Fatal(err)
	}
	expect(t, checkKind(t, "pacman", dir, false), "")
	if err := os.Remove(filepath.Join(dir, "beta-1-1-any.pkg.tar.zst")); err != nil {
		t.Fatal(err)
	}
	expect(t, checkKind(t, "pacman", dir, false), "beta-1-1-any.pkg.tar.zst")
}

// TestRealTools shows that what the archives' own tools make is consistent.
func TestRealTools(t *testing.T) {
	dir := t.TempDir()
	mirrortest.Make(t, dir, "conf/distributions: Codename: x\nArchitectures: source amd64\nComponents: main\n", "rpm/")
	for _, name := range []string{"alpha", "beta"} {
		mirrortest.Make(t, dir, "build/"+name+"/DEBIAN/control: Package: "+name+"\nVersion: 1\nSection: misc\nPriority: optional\nArchitecture: all\nMaintainer: n <n@example.net>\nDescription: d\n")
		run(t, "dpkg-deb", "--build", filepath.Join(dir, "build", name), filepath.Join(dir, name+".deb"))
		run(t, "reprepro", "-b", dir, "includedeb", "x", filepath.Join(dir, name+".deb"))
	}
	run(t, "createrepo_c", "-q", filepath.Join(dir, "rpm"))
	if _, err := os.Stat(filepath.Join(dir, "dists/x/main/binary-amd64/Packages.gz")); err != nil {
		t.Fatal(err)
	}
	expect(t, check(t, dir, false), "")
	if err := os.RemoveAll(filepath.Join(dir, "pool/main/b")); err != nil {
		t.Fatal(err)
	}
	expect(t, check(t, dir, false), "beta_1_all.deb")
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// FuzzParsers feeds every parser; none may panic, and no name may lead out.
func FuzzParsers(f *testing.F) {
	f.Add([]byte(release(map[string]string{"main/Packages": packages})))
	f.Add([]byte(packages))
	f.Add([]byte(sources))
	f.Add([]byte(gz(packages)))
	f.Add([]byte(gz(tarball("a/desc", "%FILENAME%\na\n%CSIZE%\n1\n"))))
	f.Add([]byte("P:a\nV:1\nS:9\n\n"))
	f.Add([]byte(jar("entry.json", `{"index": {"name": "/index-v2.json"}}`)))
	f.Add([]byte(`{"packages": {"a": {"versions": {"x": {"file": {"name": "/../a.apk", "size": 1}}}}}}`))
	f.Add([]byte(`<r><data type="primary"><location href="x"/></data></r>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		clean := func(r reference) error {
			if strings.HasPrefix(r.name, "../") || r.name == ".." || strings.HasPrefix(r.name, "/") {
				t.Errorf("name %q leads out", r.name)
			}
			return nil
		}
		refs, _, _ := parseRelease(bytes.NewReader(data), "dists/x")
		for _, r := range refs {
			clean(r)
		}
		parsePackages(bytes.NewReader(data), ".", clean)
		parseAPKINDEX(data, func(reference) error { return nil })
		fdroidIndex(bytes.NewReader(data), func(f *fdroidFile) error {
			if r, err := f.in("."); err == nil {
				return clean(r)
			}
			return nil
		})
		jarMember(data, "entry.json")
		if r, err := parseDesc(data); err == nil && r.name == "" {
			t.Error("a description without a name")
		}
		if r, err := detect(bytes.NewReader(data)); err == nil {
			eachMember(io.LimitReader(r, 1<<20), func(string, []byte) error { return nil })
			r.Close()
		}
		for _, name := range []string{"Packages.gz", "Packages.xz", "Packages.zst"} {
			if r, err := decompress(name, bytes.NewReader(data)); err == nil {
				io.Copy(io.Discard, io.LimitReader(r, 1<<20))
				r.Close()
			}
		}
	})
}
