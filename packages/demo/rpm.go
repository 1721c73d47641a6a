package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// RPMPackages are the names of the packages in the RPM repository, all noarch
// and without dependencies.
func RPMPackages() []string { return []string{"mm-greeting", "mm-manual", "mm-sample"} }

const spec = `Name: %[1]s
Version: 1.0
Release: 1
Summary: A package to try a mirror with
License: BSD-3-Clause
BuildArch: noarch
%%description
Installs one file.
%%install
mkdir -p %%{buildroot}/usr/share/%[1]s
echo "%[1]s 1.0" > %%{buildroot}/usr/share/%[1]s/version
%%files
/usr/share/%[1]s
`

func (b *builder) fillRPM(ctx context.Context, tree string) error {
	work, err := os.MkdirTemp("", "mm-rpm")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	for i, name := range RPMPackages() {
		b.progress(Progress{RPM, "packages", int64(i), int64(len(RPMPackages()))})
		file := filepath.Join(work, name+".spec")
		if err := writeFile(file, fmt.Appendf(nil, spec, name), 0o644, time.Now()); err != nil {
			return err
		}
		_, err := run(ctx, work, "rpmbuild", "-bb", "--target", "noarch", "--define", "_topdir "+work,
			"--define", "_rpmdir "+filepath.Join(tree, "Packages"), "--define", "_build_name_fmt %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm", file)
		if err != nil {
			return err
		}
	}
	b.progress(Progress{Module: RPM, Step: "index"})
	if _, err := run(ctx, tree, "createrepo_c", "--quiet", "."); err != nil {
		return err
	}
	key, err := os.ReadFile(PublicKey(b.dir))
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(tree, "RPM-GPG-KEY-demo"), key, 0o644, time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)); err != nil {
		return err
	}
	repomd := filepath.Join(tree, "repodata", "repomd.xml")
	return sign(ctx, b.dir, []string{"--detach-sign", "--output", repomd + ".asc", repomd})
}
