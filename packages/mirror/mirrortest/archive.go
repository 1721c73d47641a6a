package mirrortest

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
)

// Archive makes at dir an archive of a project's kind with the tools that such
// archives are made with: reprepro, createrepo_c, repo-add. Kinds without a tool
// of their own get what they look like.
func Archive(t testing.TB, dir, kind string) {
	t.Helper()
	Make(t, dir, "empty/", "0600 private: nobody's", "images/x.iso: image", "images/SHA256SUMS: sums", "latest -> images", "hard/link = images/x.iso")
	switch kind {
	case "apt":
		apt(t, dir)
	case "rpm":
		rpm(t, dir)
	case "pacman":
		pacman(t, dir)
	case "apk":
		apk(t, dir)
	case "fdroid":
		fdroid(t, dir)
	}
}

// tool runs one of them.
func tool(t testing.TB, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func apt(t testing.TB, dir string) {
	work := t.TempDir()
	Make(t, work, "conf/distributions: Codename: x\nArchitectures: source amd64\nComponents: main\n")
	for _, name := range []string{"alpha", "beta"} {
		Make(t, work, "build/"+name+"/DEBIAN/control: Package: "+name+"\nVersion: 1\nSection: misc\nPriority: optional\nArchitecture: all\nMaintainer: n <n@example.net>\nDescription: d\n")
		tool(t, work, "dpkg-deb", "--build", "build/"+name, name+".deb")
		tool(t, work, "reprepro", "--outdir", dir, "-b", work, "includedeb", "x", name+".deb")
	}
	Make(t, dir, "dists/stable -> x", "project/trace/master: Mon\n", "ls-lR.gz: list")
}

// folders that recipes leave out, beside one that they keep.
var folders = []string{"Everything/x86_64", "Everything/aarch64", "Everything/x86_64/debug", "source/tree", "testing/x86_64", "playground", "next", "Spins/x86_64", "test"}

func rpm(t testing.TB, dir string) {
	for _, f := range folders {
		Make(t, dir, "10/"+f+"/Packages/a.txt: "+f)
		tool(t, dir, "createrepo_c", "--quiet", "10/"+f)
	}
	Make(t, dir, "fullfiletimelist-x: list", "TIME: 1.5", "nonfree/el/repodata/repomd.xml: <repomd/>", "nonfree/el/x.rpm: x", "tumbleweed/repo/x.rpm: x", "tumbleweed/l -> repo")
}

func pacman(t testing.TB, dir string) {
	for _, repo := range []string{"core", "extra"} {
		os := filepath.Join(repo, "os/x86_64")
		Make(t, dir, os+"/.PKGINFO: pkgname = "+repo+"\npkgver = 1-1\narch = any\nsize = 1\n")
		file := repo + "-1-1-any.pkg.tar.gz"
		tool(t, filepath.Join(dir, os), "tar", "-czf", file, ".PKGINFO")
		tool(t, filepath.Join(dir, os), "repo-add", "-q", repo+".db.tar.gz", file)
		Make(t, dir, "-"+os+"/.PKGINFO")
	}
	Make(t, dir, "lastsync: 1", "lastupdate: 1", "stable/state: s")
}

func apk(t testing.TB, dir string) {
	repo := "edge/main/x86_64"
	Make(t, dir, repo+"/a-1.apk: a", repo+"/APKINDEX: C:Q1x=\nP:a\nV:1\nS:1\n\n", "last-updated: 1", "latest-stable -> edge")
	tool(t, filepath.Join(dir, repo), "tar", "-czf", "APKINDEX.tar.gz", "APKINDEX")
	Make(t, dir, "-"+repo+"/APKINDEX")
}

func fdroid(t testing.TB, dir string) {
	named := func(name, content string) string {
		return fmt.Sprintf(`{"name": %q, "sha256": "%x", "size": %d}`, name, sha256.Sum256([]byte(content)), len(content))
	}
	index := fmt.Sprintf(`{"packages": {"app": {"versions": {"0": {"file": %s}}}}}`, named("/app_1.apk", "a"))
	entry := fmt.Sprintf(`{"index": %s, "diffs": {"1": %s}}`, named("/index-v2.json", index), named("/diff/1.json", "{}"))
	var jar bytes.Buffer
	z := zip.NewWriter(&jar)
	w, err := z.Create("entry.json")
	if err == nil {
		_, err = w.Write([]byte(entry))
	}
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	Make(t, dir, "repo/app_1.apk: a", "repo/diff/1.json: {}", "repo/index-v2.json: "+index, "repo/entry.jar: "+jar.String())
}
