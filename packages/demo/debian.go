package demo

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ulikunitz/xz"

	"micromirror/packages/deb"
)

// Suite is the name of the archive's only suite, also reachable as "stable".
const Suite = "demo"

// OwnPackage is the package that Update replaces. It depends on nothing and has
// no scripts, so that it installs into an empty root.
const OwnPackage = "micro-mirror-demo"

const debianSuite = "trixie"

// installable packages depend on nothing.
func installable() []string {
	return []string{
		"bash-completion", "debian-faq", "distro-info-data", "dns-root-data", "doc-debian", "fonts-hack",
		"fonts-inconsolata", "hicolor-icon-theme", "libjs-jquery", "libjs-underscore", "manpages", "media-types",
		"netbase", "osinfo-db", "pci.ids", "publicsuffix", "usb.ids",
	}
}

// programs depend on libraries that the archive does not hold.
func programs() []string {
	return []string{"dc", "ed", "hello", "jq", "patch", "pv", "pwgen", "sl", "time", "tree"}
}

func (b *builder) fillDebian(ctx context.Context, tree string) error {
	var want []deb.Want
	for _, name := range slices.Concat(installable(), programs()) {
		want = append(want, deb.Want{Suite: debianSuite, Name: name})
	}
	packages, err := deb.Fetch(ctx, deb.Options{Dir: filepath.Join(b.dir, "cache"), Want: want, Progress: func(p deb.Progress) {
		b.progress(Progress{Debian, p.Step, int64(p.Percent), 100})
	}})
	if err != nil {
		return err
	}
	for i, p := range packages {
		data, err := os.ReadFile(p.Path)
		if err != nil {
			return err
		}
		// Each package has a time of its own, long ago, as in a real archive.
		mtime := time.Date(2024, 1, 1+i, 12, 30, i, 0, time.UTC)
		if err := writeFile(filepath.Join(tree, poolName(p.Name, filepath.Base(p.Path))), data, 0o644, mtime); err != nil {
			return err
		}
	}
	if err := buildOwnPackage(ctx, tree, "1.0"); err != nil {
		return err
	}
	b.progress(Progress{Module: Debian, Step: "index"})
	return writeIndex(ctx, b.dir, tree)
}

// poolName is where Debian puts a file of a source package of that name.
func poolName(name, file string) string {
	prefix := name[:1]
	if strings.HasPrefix(name, "lib") && len(name) > 3 {
		prefix = name[:4]
	}
	return filepath.Join("pool", "main", prefix, name, file)
}

// buildOwnPackage puts a version of OwnPackage in the pool.
func buildOwnPackage(ctx context.Context, tree, version string) error {
	work, err := os.MkdirTemp("", "mm-deb")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: %s\nDescription: shows that a mirror follows its upstream\n", OwnPackage, version, keyUser)
	content := filepath.Join(work, "content")
	err = errors.Join(os.Chmod(work, 0o755),
		writeFile(filepath.Join(content, "DEBIAN/control"), []byte(control), 0o644, time.Now()),
		writeFile(filepath.Join(content, "usr/share", OwnPackage, "version"), []byte(version+"\n"), 0o644, time.Now()))
	if err != nil {
		return err
	}
	file := filepath.Join(tree, poolName(OwnPackage, OwnPackage+"_"+version+"_all.deb"))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	_, err = run(ctx, "", "dpkg-deb", "--root-owner-group", "--build", content, file)
	return err
}

// writeIndex makes dists/ of the pool that is there. The new dists/ is made aside
// and replaces the old one, whose by-hash files it keeps.
func writeIndex(ctx context.Context, dir, tree string) error {
	aside := filepath.Join(tree, ".dists")
	suite := filepath.Join(aside, Suite)
	if err := removeAll(aside); err != nil {
		return err
	}
	for _, arch := range []string{"amd64", "all"} {
		list, err := run(ctx, tree, "apt-ftparchive", "--arch", arch, "packages", "pool")
		if err != nil {
			return err
		}
		if err := writeLists(filepath.Join(suite, "main", "binary-"+arch), []byte(list)); err != nil {
			return err
		}
	}
	if err := writeRelease(ctx, dir, suite); err != nil {
		return err
	}
	if err := errors.Join(addByHash(suite), keepByHash(filepath.Join(tree, "dists", Suite), suite), os.Symlink(Suite, filepath.Join(aside, "stable"))); err != nil {
		return err
	}
	dists := filepath.Join(tree, "dists")
	key, err := os.ReadFile(PublicKey(dir))
	if err != nil {
		return err
	}
	trace := time.Now().UTC().Format(time.UnixDate) + "\n"
	return errors.Join(removeAll(dists), os.Rename(aside, dists),
		writeFile(filepath.Join(tree, "demo-archive-key.asc"), key, 0o644, time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)),
		writeFile(filepath.Join(tree, "project/trace/demo-upstream"), []byte(trace), 0o644, time.Now()))
}

// writeLists writes Packages in the three forms that clients ask for.
func writeLists(dir string, list []byte) error {
	var gz, xzed bytes.Buffer
	g := gzip.NewWriter(&gz)
	_, err1 := g.Write(list)
	x, err2 := xz.NewWriter(&xzed)
	if err := errors.Join(err1, g.Close(), err2); err != nil {
		return err
	}
	_, err3 := x.Write(list)
	if err := errors.Join(err3, x.Close()); err != nil {
		return err
	}
	now := time.Now()
	return errors.Join(writeFile(filepath.Join(dir, "Packages"), list, 0o644, now),
		writeFile(filepath.Join(dir, "Packages.gz"), gz.Bytes(), 0o644, now),
		writeFile(filepath.Join(dir, "Packages.xz"), xzed.Bytes(), 0o644, now))
}

// writeRelease writes Release and its two signed forms.
func writeRelease(ctx context.Context, dir, suite string) error {
	// Like Debian's: SHA-256 only, under which the by-hash names are.
	argv := []string{"apt-ftparchive", "--no-md5", "--no-sha1", "--no-sha512"}
	for key, value := range map[string]string{
		"Origin": "Micro Mirror demo", "Label": "Micro Mirror demo", "Suite": "stable", "Codename": Suite,
		"Architectures": "all amd64", "Components": "main", "Acquire-By-Hash": "true",
		"Description": "packages of Debian to try a mirror with",
	} {
		argv = append(argv, "-o", "APT::FTPArchive::Release::"+key+"="+value)
	}
	text, err := run(ctx, suite, append(argv, "release", ".")...)
	if err != nil {
		return err
	}
	if !strings.Contains(text, "Acquire-By-Hash: yes") { // older versions do not know the setting
		text = strings.Replace(text, "Date:", "Acquire-By-Hash: yes\nDate:", 1)
	}
	release := filepath.Join(suite, "Release")
	if err := writeFile(release, []byte(text), 0o644, time.Now()); err != nil {
		return err
	}
	return sign(ctx, dir,
		[]string{"--detach-sign", "--output", release + ".gpg", release},
		[]string{"--clearsign", "--output", filepath.Join(suite, "InRelease"), release})
}

// addByHash gives each index file its second name, a hard link.
func addByHash(suite string) error {
	return filepath.WalkDir(filepath.Join(suite, "main"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "/by-hash/") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		dir := filepath.Join(filepath.Dir(path), "by-hash", "SHA256")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return os.Link(path, filepath.Join(dir, hex.EncodeToString(sum[:])))
	})
}

// keepByHash takes over the by-hash files of the archive's previous state, for
// clients that read its Release just before.
func keepByHash(from, to string) error {
	old, err := filepath.Glob(filepath.Join(from, "main", "*", "by-hash", "SHA256", "*"))
	if err != nil {
		return err
	}
	for _, path := range old {
		name := filepath.Join(to, strings.TrimPrefix(path, from))
		if err := os.Link(path, name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// Update publishes the next version of OwnPackage in place of the one that is
// there and returns it.
func Update(ctx context.Context, dir string) (version string, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("update demo upstream: %w", err)
	}
	tree := Tree(dir, Debian)
	files, err := filepath.Glob(filepath.Join(tree, poolName(OwnPackage, OwnPackage+"_1.*_all.deb")))
	if err != nil || len(files) != 1 {
		return "", fmt.Errorf("update demo upstream: %d packages %s in the pool, want 1: %w", len(files), OwnPackage, err)
	}
	var minor int
	if _, err := fmt.Sscanf(filepath.Base(files[0]), OwnPackage+"_1.%d_all.deb", &minor); err != nil {
		return "", fmt.Errorf("update demo upstream: %s: %w", files[0], err)
	}
	version = fmt.Sprintf("1.%d", minor+1)
	if err := buildOwnPackage(ctx, tree, version); err != nil {
		return "", fmt.Errorf("update demo upstream: %w", err)
	}
	if err := errors.Join(os.Remove(files[0]), writeIndex(ctx, dir, tree)); err != nil {
		return "", fmt.Errorf("update demo upstream: %w", err)
	}
	return version, nil
}
