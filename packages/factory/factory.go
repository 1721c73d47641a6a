// Package factory builds a release from this repository: everything that an
// image or an update is made of, in one folder.
//
// Promise: Build leaves in Options.Out the files that package release describes
// (kernel, initramfs, root file system with its hash tree, loader, the template
// of /perm, release.json) with a manifest and an SBOM beside them, or an error
// that names the step. Nothing in Out is a mixture of two builds: release.json
// is removed first and written last, and readers check its hashes.
//
// What comes from outside: Debian's kernel, loader and static e2fsck through
// package deb, Go modules through the go command. Both are cached, so that a
// second build reaches no network. Root is not needed, nothing is mounted.
//
// A release that is whole and was made from the same inputs is left as it is.
//
// Files owned: <repository>/build/<variant>/ and what packages/kernel gets
// filled with. One build at a time per repository (a lock file in build/).
package factory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/release"
)

// Options say what to build.
type Options struct {
	// Repository is the top folder of the source tree.
	Repository string
	// Tags are Go build tags for every program in the image. "faults" compiles
	// in the fault points that the tests use.
	Tags []string
	// Log receives one line a step, and the output of a step that failed.
	Log io.Writer
	// Refresh asks Debian for newer packages than those cached.
	Refresh bool
	// Firmware is NonFree for an image with firmware that Debian keeps apart.
	Firmware string
	// Folder, if set, is the name of the folder in build/ that the release goes
	// to, and Env is added to the environment of the go command: for measuring.
	Folder string
	Env    []string
}

// Variant names the kind of build, which is also the name of its folder.
func (o Options) Variant() string {
	if o.Folder != "" {
		return o.Folder
	}
	if slices.Contains(o.Tags, "faults") {
		return "release-faults"
	}
	return "release"
}

// Out is where the release goes.
func (o Options) Out() string { return filepath.Join(o.Repository, "build", o.Variant()) }

func (o Options) debianDir() string { return filepath.Join(o.Repository, "build", "debian") }

func (o Options) work() string { return filepath.Join(o.Repository, "build", "work", o.Variant()) }

// Build makes a release and returns its folder.
func Build(ctx context.Context, o Options) (string, error) {
	if err := o.checkFirmware(); err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(o.Repository, "build"))
	if err != nil {
		return "", err
	}
	defer unlock()
	b := &build{Options: o}
	err = errors.Join(os.RemoveAll(b.temp()), os.MkdirAll(o.Out(), 0o755), os.MkdirAll(b.temp(), 0o755))
	if err == nil {
		err = errors.Join(b.run(ctx), os.RemoveAll(b.temp()))
	}
	if err != nil {
		return "", fmt.Errorf("build: %w", err)
	}
	return o.Out(), nil
}

// run makes the release unless it is up to date.
func (b *build) run(ctx context.Context) error {
	if err := b.identify(ctx); err != nil {
		return err
	}
	// Hashed before the build reads them: what changes meanwhile is new.
	sources, err := b.sources(ctx)
	if err != nil {
		return err
	}
	if current, err := b.upToDate(ctx, sources); err != nil {
		return err
	} else if current && !b.Refresh {
		fmt.Fprintf(b.Log, "build: %s is up to date\n", b.Variant())
		return nil
	}
	for _, name := range []string{InputsFile, release.FileName} {
		if err := os.Remove(filepath.Join(b.Out(), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := b.steps(ctx); err != nil {
		return err
	}
	return errors.Join(b.writeTimes(), b.seal(sources))
}

func (b *build) steps(ctx context.Context) error {
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"Debian packages", b.fetchDebian},
		{"kernel and modules", b.fillKernel},
		{"firmware", b.takeFirmware},
		{"template of /perm", b.makePerm},
		{"initramfs", b.makeInitrd},
		{"manifest", b.writeManifest},
		{"root file system", b.makeRoot},
		{"release", b.writeRelease},
	} {
		start := time.Now()
		stop := b.tellLong(step.name)
		err := step.run(ctx)
		stop()
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		took := time.Since(start)
		b.times = append(b.times, StepTime{step.name, took.Seconds()})
		fmt.Fprintf(b.Log, "build: %-20s %6.1f s\n", step.name, took.Seconds())
	}
	return nil
}

// tellLong says now and then that a step is under way, until it is told to stop.
func (b *build) tellLong(step string) (stop func()) {
	const every = 10 * time.Second
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for start := time.Now(); ; {
			select {
			case <-done:
				return
			case <-tick.C:
				fmt.Fprintf(b.Log, "build: %s, %.0f s so far\n", step, time.Since(start).Seconds())
			}
		}
	}()
	return func() { close(done); <-ended }
}

// lock keeps two builds of one repository apart: gok and the kernel package are
// shared between the variants.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("build: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("build: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("build: lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}
