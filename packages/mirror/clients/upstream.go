package clients

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"micromirror/packages/child"
)

// upstream is an archive of each format, apt, rpm and pacman, with one package of
// which version after version comes out. As real archives do, it puts packages
// before the indexes that name them, and keeps the older ones for a few versions.
type upstream struct {
	dir, build string
	metadata   map[string]int // files of repodata, and the versions that brought them
}

// keepVersions is how many versions of a package upstream keeps.
const keepVersions = 3

func newUpstream(ctx context.Context, dir, build string) (*upstream, error) {
	u := &upstream{dir: dir, build: build, metadata: map[string]int{}}
	for _, sub := range []string{"pool", "dists/x/main/binary-amd64/by-hash/SHA256", "rpm", "arch"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	return u, os.MkdirAll(build, 0o755)
}

// release brings out version n of everything.
func (u *upstream) release(ctx context.Context, n int) error {
	return errors.Join(u.deb(ctx, n), u.rpm(ctx, n), u.arch(ctx, n))
}

// command runs a program that makes part of the archive.
func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %.500s", name, err, out)
	}
	return nil
}

// put writes a file of the archive in one step.
func (u *upstream) put(name string, content []byte) error {
	path := filepath.Join(u.dir, name)
	temp := filepath.Join(u.build, "put")
	if err := os.WriteFile(temp, content, 0o644); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// deb releases a package in the format of apt.
func (u *upstream) deb(ctx context.Context, n int) error {
	control := fmt.Sprintf("Package: p\nVersion: %d\nArchitecture: all\nMaintainer: n <n@example.net>\nDescription: d\n", n)
	tree := filepath.Join(u.build, "deb")
	if err := os.MkdirAll(filepath.Join(tree, "DEBIAN"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tree, "DEBIAN/control"), []byte(control), 0o644); err != nil {
		return err
	}
	file := filepath.Join(u.build, "p.deb")
	if err := command(ctx, u.build, "dpkg-deb", "--root-owner-group", "-Zgzip", "--build", "deb", file); err != nil {
		return err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("pool/p_%d_all.deb", n)
	packages := fmt.Appendf(nil, "%sFilename: %s\nSize: %d\nSHA256: %x\n\n", control, name, len(data), sha256.Sum256(data))
	sum := fmt.Sprintf("%x", sha256.Sum256(packages))
	const index = "main/binary-amd64/Packages"
	release := fmt.Appendf(nil, "Origin: x\nSuite: x\nCodename: x\nDate: %s\nArchitectures: amd64\nComponents: main\nAcquire-By-Hash: yes\nSHA256:\n %s %d %s\n",
		time.Now().UTC().Format(time.RFC1123), sum, len(packages), index)
	err = errors.Join(
		u.put(name, data), u.put("dists/x/main/binary-amd64/by-hash/SHA256/"+sum, packages),
		u.put("dists/x/"+index, packages), u.put("dists/x/Release", release),
	)
	if old := n - keepVersions; old > 0 && err == nil {
		err = os.Remove(filepath.Join(u.dir, fmt.Sprintf("pool/p_%d_all.deb", old)))
	}
	return err
}

const spec = `Name: p
Version: %d
Release: 1
Summary: s
License: l
BuildArch: noarch
%%description
d
%%files
`

// rpm releases a package in the format of dnf.
func (u *upstream) rpm(ctx context.Context, n int) error {
	if err := os.WriteFile(filepath.Join(u.build, "p.spec"), fmt.Appendf(nil, spec, n), 0o644); err != nil {
		return err
	}
	err := command(ctx, u.build, "rpmbuild", "-bb", "--quiet", "--define", "_topdir "+u.build+"/rpm", "--define", "_rpmdir "+u.build, "p.spec")
	if err != nil {
		return err
	}
	name := fmt.Sprintf("p-%d-1.noarch.rpm", n)
	if err := os.Rename(filepath.Join(u.build, "noarch", name), filepath.Join(u.dir, "rpm", name)); err != nil {
		return err
	}
	if err := command(ctx, u.build, "createrepo_c", "--quiet", "--retain-old-md=2", filepath.Join(u.dir, "rpm")); err != nil {
		return err
	}
	if err := u.forgetMetadata(n); err != nil {
		return err
	}
	if old := n - keepVersions; old > 0 {
		return os.Remove(filepath.Join(u.dir, fmt.Sprintf("rpm/p-%d-1.noarch.rpm", old)))
	}
	return nil
}

// forgetMetadata removes what createrepo_c ought to: it retains all that has a sum in
// its name, and copies it each time.
func (u *upstream) forgetMetadata(n int) error {
	dir := filepath.Join(u.dir, "rpm/repodata")
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		name := e.Name()
		if u.metadata[name] == 0 {
			u.metadata[name] = n
		}
		if u.metadata[name] <= n-keepVersions && name != "repomd.xml" {
			err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
			delete(u.metadata, name)
		}
	}
	return err
}

// arch releases a package in the format of pacman.
func (u *upstream) arch(ctx context.Context, n int) error {
	info := fmt.Sprintf("pkgname = p\npkgver = %d-1\npkgdesc = d\nurl = u\nbuilddate = 1\npackager = n\nsize = 1\narch = any\n", n)
	if err := os.WriteFile(filepath.Join(u.build, ".PKGINFO"), []byte(info), 0o644); err != nil {
		return err
	}
	name := fmt.Sprintf("p-%d-1-any.pkg.tar.gz", n)
	if err := command(ctx, u.build, "tar", "-czf", name, ".PKGINFO"); err != nil {
		return err
	}
	// The database is made elsewhere, or clients of upstream itself would see half
	// of it.
	if err := command(ctx, u.build, "repo-add", "--quiet", "x.db.tar.gz", name); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(u.build, name), filepath.Join(u.dir, "arch", name)); err != nil {
		return err
	}
	for _, db := range []string{"x.files", "x.db"} {
		data, err := os.ReadFile(filepath.Join(u.build, db+".tar.gz"))
		if err == nil {
			err = u.put("arch/"+db, data)
		}
		if err != nil {
			return err
		}
	}
	if old := n - keepVersions; old > 0 {
		return os.Remove(filepath.Join(u.dir, fmt.Sprintf("arch/p-%d-1-any.pkg.tar.gz", old)))
	}
	return nil
}

// rsyncDaemon is rsync's own daemon.
type rsyncDaemon struct {
	*child.Process
	url, addr string
}

// Stop ends it.
func (d *rsyncDaemon) Stop() { d.Process.Stop(time.Second) }

// serveRsync serves dir as module "m".
func serveRsync(ctx context.Context, state, dir string) (*rsyncDaemon, error) {
	if err := os.MkdirAll(state, 0o755); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close() // rsync binds it anew; nobody else asks for ports here
	config := filepath.Join(state, "rsyncd.conf")
	text := fmt.Sprintf("use chroot = no\nlog file = %s/log\n[m]\npath = %s\nread only = yes\n", state, dir)
	if os.Getuid() == 0 {
		text = "uid = 0\ngid = 0\n" + text
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	p, err := child.Start(exec.Command("rsync", "--daemon", "--no-detach", "--address=127.0.0.1", fmt.Sprintf("--port=%d", port), "--config="+config))
	if err != nil {
		return nil, fmt.Errorf("start rsync: %w", err)
	}
	d := &rsyncDaemon{Process: p, addr: fmt.Sprintf("127.0.0.1:%d", port)}
	d.url = "rsync://" + d.addr + "/m/"
	return d, awaitPort(ctx, d.addr, p.Done())
}

// awaitPort waits until somebody listens.
func awaitPort(ctx context.Context, addr string, gone <-chan struct{}) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-gone:
			return fmt.Errorf("wait for %s: the server has ended", addr)
		case <-tick.C:
		}
	}
}
