package httpd

import (
	"os"
	"path/filepath"
	"testing"
)

// The package managers and the programs that mirror whole archives, each with a
// small repository of its kind, made by the distribution's own tools: apt dnf
// zypper pacman debmirror apt-mirror.

// debName has what Debian's names may hold and URLs write differently.
const debName = "mirror-test_1.0+x~y_amd64.deb"

// deb makes a Debian package in the served directory.
func (f *fixture) deb(dir string) {
	f.Helper()
	build := f.TempDir()
	f.must(os.MkdirAll(filepath.Join(build, "p/DEBIAN"), 0o755))
	f.must(os.WriteFile(filepath.Join(build, "p/DEBIAN/control"),
		[]byte("Package: mirror-test\nVersion: 1:1.0+x~y\nArchitecture: amd64\nMaintainer: a <a@b.example>\nDescription: x\n"), 0o644))
	f.clientIn(build, "dpkg-deb", "-b", "p", debName)
	f.publish(filepath.Join(build, debName), dir+"/"+debName)
}

// publish puts a file that a tool has made into the tree.
func (f *fixture) publish(from, name string) {
	f.Helper()
	data, err := os.ReadFile(from)
	f.must(err)
	f.write(name, string(data))
}

// archive makes a Debian archive below debian/archive.
func (f *fixture) archive() {
	f.Helper()
	f.deb("debian/archive/pool/main/m/mirror-test")
	root := f.path("debian/archive")
	const index = "dists/stable/main/binary-amd64/Packages"
	f.write("debian/archive/"+index, f.clientIn(root, "apt-ftparchive", "packages", "pool"))
	f.clientIn(root, "gzip", "-9nk", index)
	f.write("debian/archive/dists/stable/Release", f.clientIn(root, "apt-ftparchive",
		"-o", "APT::FTPArchive::Release::Codename=stable", "-o", "APT::FTPArchive::Release::Suite=stable",
		"-o", "APT::FTPArchive::Release::Components=main", "-o", "APT::FTPArchive::Release::Architectures=amd64",
		"release", "dists/stable"))
}

// mirrored compares the archive with what a mirroring program has made of it.
func (f *fixture) mirrored(dir string) {
	f.Helper()
	for _, name := range []string{
		"pool/main/m/mirror-test/" + debName, "dists/stable/Release", "dists/stable/main/binary-amd64/Packages.gz",
	} {
		f.same(filepath.Join(dir, name), filepath.Join(f.path("debian/archive"), name), false)
	}
}

func TestDebmirror(t *testing.T) {
	f := newFixture(t)
	f.archive()
	// It is told not to check signatures, yet insists on the files.
	f.write("debian/archive/dists/stable/Release.gpg", "none")
	f.publish(f.path("debian/archive/dists/stable/Release"), "debian/archive/dists/stable/InRelease")
	dir := t.TempDir()
	f.must(os.WriteFile(filepath.Join(dir, "config"), []byte("1;\n"), 0o644)) // it is Perl
	for range 2 {                                                             // the second time finds everything there
		f.clientIn(dir, "debmirror", "--method=http", "--host="+f.addr, "--root=debian/archive", "--dist=stable", "--section=main",
			"--arch=amd64", "--nosource", "--no-check-gpg", "--rsync-extra=none", "--diff=none", "--slow-cpu", "--config-file="+dir+"/config", "out")
	}
	f.mirrored(filepath.Join(dir, "out"))
}

// apt-mirror loses its way with port numbers, so the server is its proxy, which is
// nothing but absolute request targets.
func TestAptMirror(t *testing.T) {
	f := newFixture(t)
	f.archive()
	dir := t.TempDir()
	for _, sub := range []string{"mirror", "skel", "var"} {
		f.must(os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	config := "set base_path " + dir + "\nset run_postmirror 0\nset nthreads 4\nset _tilde 0\nset use_proxy on\nset http_proxy " + f.addr +
		"\ndeb-amd64 http://mirror.example/debian/archive stable main\n"
	f.must(os.WriteFile(filepath.Join(dir, "mirror.list"), []byte(config), 0o644))
	for range 2 {
		f.clientIn(dir, "apt-mirror", "mirror.list")
	}
	f.mirrored(filepath.Join(dir, "mirror/mirror.example/debian/archive"))
}

func TestApt(t *testing.T) {
	f := newFixture(t)
	f.archive()
	dir := t.TempDir()
	for _, sub := range []string{"lists/partial", "cache/archives/partial", "etc"} {
		f.must(os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	source := "deb [trusted=yes arch=amd64] http://" + f.addr + "/debian/archive stable main\n"
	f.must(os.WriteFile(filepath.Join(dir, "etc/sources.list"), []byte(source), 0o644))
	f.must(os.WriteFile(filepath.Join(dir, "etc/status"), nil, 0o644))
	options := []string{"-o", "Dir::Etc=" + dir + "/etc", "-o", "Dir::Etc::sourceparts=-", "-o", "Dir::State::lists=" + dir + "/lists",
		"-o", "Dir::State::status=" + dir + "/etc/status", "-o", "Dir::Cache=" + dir + "/cache", "-o", "APT::Sandbox::User=root",
		"-o", "Acquire::http::Proxy=DIRECT", "-o", "Acquire::Languages=none", "-o", "APT::Update::Error-Mode=any"}
	for range 2 { // the second time asks If-Modified-Since
		f.clientIn(dir, "apt-get", append(options, "update")...)
	}
	f.clientIn(dir, "apt-get", append(options, "download", "mirror-test")...)
	f.fetched(filepath.Join(dir, "mirror-test*.deb"), "debian/archive/pool/main/m/mirror-test/"+debName)
}

// fetched compares the one file that matches with a served one.
func (f *fixture) fetched(pattern, name string) {
	f.Helper()
	found, err := filepath.Glob(pattern)
	f.must(err)
	if len(found) != 1 {
		f.Fatalf("%s: fetched %v", pattern, found)
	}
	f.same(found[0], f.path(name), false)
}

const rpmName = "mirror-test-1.0~rc1+x-1.noarch.rpm"

// rpms makes an RPM repository below epel/repo.
func (f *fixture) rpms() {
	f.Helper()
	f.state("epel", `{"status":"idle","serving":true,"last_update":"2026-01-02T03:04:05Z"}`)
	dir := f.TempDir()
	spec := "Name: mirror-test\nVersion: 1.0~rc1+x\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\n%description\nx\n%files\n"
	f.must(os.WriteFile(filepath.Join(dir, "x.spec"), []byte(spec), 0o644))
	f.clientIn(dir, "rpmbuild", "-bb", "--define", "_topdir "+dir, "--define", "_rpmdir "+dir+"/repo",
		"--define", "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm", "x.spec")
	f.clientIn(dir, "createrepo_c", "repo")
	for _, name := range f.names(filepath.Join(dir, "repo")) {
		f.publish(filepath.Join(dir, "repo", name), "epel/repo/"+name)
	}
	f.await("epel is served again", func() bool { return f.get("GET", "/epel/repo/"+rpmName).Status == 200 })
}

func TestDnf(t *testing.T) {
	f := newFixture(t)
	f.rpms()
	dir := t.TempDir()
	for range 2 {
		f.clientIn(dir, "dnf", "-y", "--installroot="+dir+"/root", "--releasever=1", "--setopt=reposdir=/nowhere", "--setopt=cachedir="+dir+"/cache",
			"--setopt=zchunk=0", "--repofrompath=t,http://"+f.addr+"/epel/repo/", "--repo=t", "--nogpgcheck", "--refresh",
			"install", "--downloadonly", "--downloaddir="+dir+"/out", "mirror-test")
	}
	f.fetched(dir+"/out/*.rpm", "epel/repo/"+rpmName)
}

func TestZypper(t *testing.T) {
	f := newFixture(t)
	f.rpms()
	dir := t.TempDir()
	zypper := func(args ...string) {
		f.Helper()
		f.clientIn(dir, "zypper", append([]string{"--root", dir + "/root", "--non-interactive", "--no-gpg-checks"}, args...)...)
	}
	zypper("addrepo", "--no-gpgcheck", "http://"+f.addr+"/epel/repo/", "t")
	zypper("refresh", "--force")
	zypper("refresh")
	zypper("install", "--download-only", "mirror-test")
	f.fetched(dir+"/root/var/cache/zypp/packages/t/*.rpm", "epel/repo/"+rpmName)
}

const pacmanName = "mirror-test-1:1.0+x-1-any.pkg.tar.gz"

func TestPacman(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	f.must(os.MkdirAll(filepath.Join(dir, "p"), 0o755))
	info := "pkgname = mirror-test\npkgbase = mirror-test\npkgver = 1:1.0+x-1\npkgdesc = x\nurl = x\nbuilddate = 1\npackager = x\nsize = 0\narch = any\n"
	f.must(os.WriteFile(filepath.Join(dir, "p/.PKGINFO"), []byte(info), 0o644))
	f.clientIn(filepath.Join(dir, "p"), "tar", "--force-local", "-czf", "../"+pacmanName, ".PKGINFO")
	f.must(os.Mkdir(filepath.Join(dir, "db"), 0o755))
	f.clientIn(dir, "repo-add", "-q", "t.db.tar.gz", pacmanName)
	f.publish(filepath.Join(dir, pacmanName), "debian/arch/"+pacmanName)
	f.publish(filepath.Join(dir, "t.db.tar.gz"), "debian/arch/t.db")
	config := "[options]\nArchitecture = auto\nSigLevel = Never\n[t]\nServer = http://" + f.addr + "/debian/arch\n"
	f.must(os.WriteFile(filepath.Join(dir, "pacman.conf"), []byte(config), 0o644))
	for _, sub := range []string{"root", "lib", "cache"} {
		f.must(os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	pacman := []string{"--config", dir + "/pacman.conf", "--root", dir + "/root", "--dbpath", dir + "/lib", "--cachedir", dir + "/cache",
		"--gpgdir", dir, "--hookdir", dir, "--logfile", dir + "/log", "--noconfirm", "--noprogressbar"}
	for range 2 { // the second time asks If-Modified-Since
		f.clientIn(dir, "pacman", append(pacman, "-Sy")...)
	}
	f.clientIn(dir, "pacman", append(pacman, "-Sw", "mirror-test")...)
	f.fetched(dir+"/cache/*.pkg.tar.gz", "debian/arch/"+pacmanName)
}
