package mirror

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"micromirror/packages/mirror/mirrortest"
)

// TestDamagedJournal finds the journal of an interrupted publish as a broken disk
// may leave it. It is given up, the tree counts as torn, and the next run heals it.
func TestDamagedJournal(t *testing.T) {
	for name, damage := range map[string]func(journal string, content []byte) error{
		"of no bytes": func(journal string, _ []byte) error { return os.Truncate(journal, 0) },
		"half of it":  func(journal string, content []byte) error { return os.Truncate(journal, int64(len(content)/2)) },
		"all zeros": func(journal string, content []byte) error {
			return os.WriteFile(journal, make([]byte, len(content)), 0o600)
		},
		"one flipped bit": func(journal string, content []byte) error {
			content[len(content)/2] ^= 1
			return os.WriteFile(journal, content, 0o600)
		},
		"twice": func(journal string, content []byte) error {
			return os.WriteFile(journal, bytes.Repeat(content, 2), 0o600)
		},
		"a directory": func(journal string, _ []byte) error { return errors.Join(os.Remove(journal), os.Mkdir(journal, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, archive...)
			w.mustRun()
			w.change("pool/new: new", "-pool/c", "dists/one/InRelease: newer")
			w.job.Fault = func(step string) error {
				if step == "file dists/one/InRelease" {
					return errors.New("power cut")
				}
				return nil
			}
			if _, err := w.run(); err == nil {
				t.Fatal("not broken off")
			}
			w.job.Fault = nil
			journal := filepath.Join(w.job.Stage, "plan")
			content, err := os.ReadFile(journal)
			if err == nil {
				err = damage(journal, content)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = Recover(t.Context(), w.job)
			if given := errors.Is(err, ErrGivenUp); given != Torn(w.job) || Pending(w.job) {
				t.Errorf("given up: %v (%v), torn %v, pending %v", given, err, Torn(w.job), Pending(w.job))
			}
			w.mustRun()
			w.same()
			if Torn(w.job) || Pending(w.job) {
				t.Error("not whole after a run")
			}
		})
	}
}

// TestWorkerLeavesTraps is a worker that was taken over and leaves other things
// than files where its parent looks for them.
func TestWorkerLeavesTraps(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("password\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	traps := map[string]func(proposal string) error{
		"a pipe": func(proposal string) error { return unix.Mkfifo(proposal, 0o600) },
		"a link": func(proposal string) error { return os.Symlink(secret, proposal) },
		"a folder": func(proposal string) error {
			return errors.Join(os.Mkdir(proposal, 0o700), os.WriteFile(filepath.Join(proposal, "x"), nil, 0o600))
		},
		"nothing": func(string) error { return nil },
		"a file without end": func(proposal string) error {
			return errors.Join(os.WriteFile(proposal, nil, 0o600), os.Truncate(proposal, maxProposal+1))
		},
	}
	for name, trap := range traps {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, archive...)
			w.mustRun()
			w.change("pool/new: new")
			before := mirrortest.Describe(t, w.job.Tree, true)
			_, err := Run(t.Context(), w.job, func(ctx context.Context, j Job) (Outcome, error) {
				out, err := Fetch(ctx, j)
				return out, errors.Join(err, os.Remove(out.Proposal), trap(out.Proposal))
			})
			if !errors.Is(err, ErrAudit) || strings.Contains(err.Error(), "password") {
				t.Errorf("error = %v, want %v", err, ErrAudit)
			}
			if diff := cmp.Diff(before, mirrortest.Describe(t, w.job.Tree, true)); diff != "" {
				t.Errorf("the tree changed, -before +after\n%s", diff)
			}
			if err := os.RemoveAll(filepath.Join(Staging(w.job.Stage), proposalFile)); err != nil {
				t.Fatal(err)
			}
			w.mustRun()
			w.same()
		})
	}
}

// TestWorkerKeepsAName is a worker that was taken over and keeps a second name of
// what it fetches, to change it once it is served.
func TestWorkerKeepsAName(t *testing.T) {
	w := newWorld(t, archive...)
	w.mustRun()
	w.change("pool/new: new")
	kept := filepath.Join(Staging(w.job.Stage), "kept")
	_, err := Run(t.Context(), w.job, func(ctx context.Context, j Job) (Outcome, error) {
		out, err := Fetch(ctx, j)
		return out, errors.Join(err, os.Link(filepath.Join(Staging(j.Stage), stageName("pool/new")), kept))
	})
	if !errors.Is(err, ErrAudit) || w.has("pool/new") {
		t.Errorf("error = %v, want %v", err, ErrAudit)
	}
	w.mustRun()
	if err := os.WriteFile(kept, []byte("bad"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.same()
}

// A stage that is a link to elsewhere, as a maintainer may have made it, must not
// cost the tree anything.
func TestLinkedStage(t *testing.T) {
	w := newWorld(t, archive...)
	w.mustRun()
	elsewhere := filepath.Join(filepath.Dir(w.job.Tree), "elsewhere")
	err := errors.Join(os.Rename(w.job.Stage, elsewhere), os.Symlink(elsewhere, w.job.Stage))
	if err != nil {
		t.Fatal(err)
	}
	before := mirrortest.Describe(t, w.job.Tree, true)
	w.change("pool/new: new")
	if _, err := w.run(); err != nil {
		if diff := cmp.Diff(before, mirrortest.Describe(t, w.job.Tree, true)); diff != "" {
			t.Errorf("the tree changed in spite of %v, -before +after\n%s", err, diff)
		}
		t.Logf("refused: %v", err)
		if err := os.Remove(w.job.Stage); err != nil {
			t.Fatal(err)
		}
		w.mustRun()
	}
	w.same()
}
