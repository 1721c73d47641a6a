// Package client runs real package managers against a repository, in a root
// folder of their own, as a machine somewhere would that uses a mirror.
//
// Promise: nothing outside the root folder is read or changed except the programs
// themselves: no lists, caches, keys, settings or installed packages of this
// computer. Signatures are checked. Packages without dependencies and scripts
// install without a chroot. apt needs no root rights but for installing; dnf
// needs them.
package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Apt is apt-get in a root folder, with one archive.
type Apt struct{ Root string }

// NewApt makes the root folder. source is a line of sources.list; its signed-by
// option names the archive's public key.
func NewApt(root, source string) (*Apt, error) {
	for _, d := range []string{"etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d", "etc/apt/trusted.gpg.d",
		"var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return nil, fmt.Errorf("apt root: %w", err)
		}
	}
	for name, text := range map[string]string{"etc/apt/sources.list": source + "\n", "var/lib/dpkg/status": "", "var/lib/dpkg/available": ""} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("apt root: %w", err)
		}
	}
	return &Apt{root}, nil
}

// Run runs a program of apt, for example "apt-get", "update", and returns what it
// said. "download" puts its files into the root folder.
func (a *Apt) Run(ctx context.Context, program string, args ...string) (string, error) {
	options := []string{"Dir=" + a.Root, "Dir::State::status=" + filepath.Join(a.Root, "var/lib/dpkg/status"), "Dir::Bin::dpkg=/usr/bin/dpkg",
		"APT::Architecture=amd64", "APT::Architectures=amd64", "APT::Sandbox::User=", "Acquire::Retries=0", "Acquire::http::Proxy=DIRECT",
		"DPkg::Options::=--root=" + a.Root, "DPkg::Options::=--force-script-chrootless", "DPkg::Options::=--log=" + filepath.Join(a.Root, "dpkg.log")}
	var argv []string
	for _, o := range options {
		argv = append(argv, "-o", o)
	}
	if program == "apt-get" {
		argv = append(argv, "--yes", "-q")
	}
	return run(ctx, a.Root, program, append(argv, args...))
}

// Dnf is dnf in a root folder, with one repository.
type Dnf struct{ Root string }

// NewDnf makes the root folder. The repository at url must hold the key that its
// repomd.xml is signed with in the file key.
func NewDnf(root, url, key string) (*Dnf, error) {
	for _, d := range []string{"repos", "cache", "log", "root", "files"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return nil, fmt.Errorf("dnf root: %w", err)
		}
	}
	repo := fmt.Sprintf("[mirror]\nname=mirror\nbaseurl=%s\nrepo_gpgcheck=1\ngpgcheck=0\ngpgkey=%s/%s\n", url, url, key)
	if err := os.WriteFile(filepath.Join(root, "repos", "mirror.repo"), []byte(repo), 0o644); err != nil {
		return nil, fmt.Errorf("dnf root: %w", err)
	}
	return &Dnf{root}, nil
}

// Run runs dnf, for example "makecache", and returns what it said.
func (d *Dnf) Run(ctx context.Context, args ...string) (string, error) {
	at := func(name string) string { return filepath.Join(d.Root, name) }
	argv := []string{"--setopt=reposdir=" + at("repos"), "--setopt=cachedir=" + at("cache"), "--setopt=logdir=" + at("log"),
		"--setopt=keepcache=1", "--setopt=proxy=", "--installroot=" + at("root"), "--releasever=1", "--assumeyes"}
	return run(ctx, d.Root, "dnf", append(argv, args...))
}

// Download fetches packages into the folder files and returns their names there.
func (d *Dnf) Download(ctx context.Context, packages ...string) ([]string, error) {
	files := filepath.Join(d.Root, "files")
	if _, err := d.Run(ctx, append([]string{"install", "--downloadonly", "--downloaddir=" + files}, packages...)...); err != nil {
		return nil, err
	}
	return filepath.Glob(filepath.Join(files, "*.rpm"))
}

func run(ctx context.Context, dir, program string, argv []string) (string, error) {
	cmd := exec.CommandContext(ctx, program, argv...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w\n%s", program, strings.Join(argv, " "), errors.Join(err, context.Cause(ctx)), out)
	}
	return string(out), nil
}
