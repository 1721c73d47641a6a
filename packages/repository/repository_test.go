package repository

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"micromirror/packages/chunk"
	"micromirror/packages/release"
	"micromirror/packages/rollout"
)

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error = %v, want %q in it", err, w)
		}
	}
}

func TestNodesReadWhatIsPublished(t *testing.T) {
	b := newBench(t)
	node := b.client()
	b.release("2026.11.22-a", 0)
	decision := b.rollout("2026.11.22-a", 10)
	_, err := b.SetConfig(t.Context(), map[string][]byte{FleetTarget: []byte("fleet"), NodeTarget("one"): []byte("one")})
	b.must(err)
	encoded, err := decision.Marshal()
	b.must(err)
	for target, content := range map[string]string{
		ReleaseTarget("2026.11.22-a", release.RootFile):   "root.img of 2026.11.22-a",
		ReleaseTarget("2026.11.22-a", release.LoaderFile): "loader.efi of 2026.11.22-a",
		rollout.Target:    string(encoded),
		FleetTarget:       "fleet",
		NodeTarget("one"): "one",
	} {
		node.want(target, content)
	}
	if _, err := node.get(ReleaseTarget("2026.11.22-a", release.PermFile)); err == nil {
		t.Error("the template of /perm travels")
	}
	index, err := node.get(ChunksTarget("2026.11.22-a", release.RootFile))
	b.must(err)
	if got, err := chunk.Parse([]byte(index)); err != nil || got.Size != int64(len("root.img of 2026.11.22-a")) {
		t.Errorf("chunk index = %+v, %v", got, err)
	}
	want := &rollout.Rollout{Sequence: 1, Version: "2026.11.22-a", Percent: 10, Seed: "2026.11.22-a", Issued: b.clock, Hardware: []string{"qemu"}}
	if diff := cmp.Diff(want, decision); diff != "" {
		t.Errorf("decision: -want +got\n%s", diff)
	}
}

func TestConfigurationIsReplacedAsAWhole(t *testing.T) {
	b := newBench(t)
	set := func(files map[string][]byte) bool {
		changed, err := b.SetConfig(t.Context(), files)
		b.must(err)
		return changed
	}
	two := map[string][]byte{NodeTarget("one"): []byte("1"), NodeTarget("two"): []byte("2")}
	if !set(two) || set(two) {
		t.Error("want a change the first time and none the second")
	}
	if !set(map[string][]byte{NodeTarget("one"): []byte("1")}) {
		t.Error("a removed node is no change")
	}
	if _, err := b.client().get(NodeTarget("two")); err == nil {
		t.Error("a removed node is still there")
	}
	_, err := b.SetConfig(t.Context(), map[string][]byte{rollout.Target: nil})
	wantError(t, err, "rollout.json", "config/")
}

func TestReleaseOnce(t *testing.T) {
	b := newBench(t)
	dir := testRelease(t, "1", "", b.clock)
	for i, want := range []bool{true, false} {
		if _, added, err := b.AddRelease(t.Context(), dir); err != nil || added != want {
			t.Errorf("attempt %d: added %v, %v; want %v", i, added, err, want)
		}
	}
	_, _, err := b.AddRelease(t.Context(), testRelease(t, "1", "other", b.clock))
	wantError(t, err, "add release 1", "other content", "new version")
	_, _, err = b.AddRelease(t.Context(), testRelease(t, "9", "", b.clock.Add(25*time.Hour)))
	wantError(t, err, "add release 9", "25h0m0s from now", "clock")
	b.must(os.WriteFile(filepath.Join(dir, release.KernelFile), []byte("damaged"), 0o644))
	_, _, err = b.AddRelease(t.Context(), dir)
	wantError(t, err, release.KernelFile)
}

func TestRemoveRelease(t *testing.T) {
	b := newBench(t)
	b.release("1", -2)
	b.release("11", -1)
	b.rollout("11", 100)
	wantError(t, b.RemoveRelease(t.Context(), "11"), "in force", "another one first")
	for _, bad := range []string{"2", "", ".", "..", "../..", "1/."} {
		wantError(t, b.RemoveRelease(t.Context(), bad), fmt.Sprintf("%q is not published", bad), "1, 11")
	}
	b.must(b.RemoveRelease(t.Context(), "1"))
	rels, err := b.Releases()
	b.must(err)
	if len(rels) != 1 || rels[0].Version != "11" {
		t.Errorf("releases afterwards: %+v", rels)
	}
	b.client().want(ReleaseTarget("11", release.RootFile), "root.img of 11")
}

// A node that has seen the metadata before a release was taken out can still
// download it; when that metadata has expired, the files go.
func TestRemovedFilesStayForAWhile(t *testing.T) {
	b := newBench(t)
	b.release("1", -2)
	b.release("11", -1)
	b.rollout("11", 100)
	folder := filepath.Join(b.Dir, "targets", "releases", "1")
	strange := filepath.Join(folder, "not-ours")
	b.must(os.WriteFile(filepath.Join(b.Dir, "targets", ".new-1"), nil, 0o600))
	b.must(b.RemoveRelease(t.Context(), "1"))
	later := b.clock.AddDate(0, 0, 30)
	for b.clock.Before(later) {
		if got, err := filepath.Glob(filepath.Join(folder, "*."+release.RootFile)); err != nil || len(got) != 1 {
			t.Fatalf("at %s: %v, %v", b.clock, got, err)
		}
		b.clock = b.clock.AddDate(0, 0, 10)
		b.must(b.Renew(t.Context()))
	}
	if _, err := os.Stat(folder); err == nil {
		t.Error("the files of release 1 are still there")
	}
	b.client().want(ReleaseTarget("11", release.RootFile), "root.img of 11")
	b.must(os.MkdirAll(folder, 0o755))
	b.must(os.WriteFile(strange, nil, 0o600))
	for range 40 {
		b.clock = b.clock.AddDate(0, 0, 1)
		_, err := b.SetConfig(t.Context(), map[string][]byte{FleetTarget: []byte(b.clock.String())})
		b.must(err)
		b.must(b.Renew(t.Context()))
	}
	if _, err := os.Stat(strange); err != nil {
		t.Errorf("a file of somebody else: %v", err)
	}
	for dir, most := range map[string]int{"metadata": 100, "targets/config": 31} {
		if files, err := os.ReadDir(filepath.Join(b.Dir, dir)); err != nil || len(files) > most {
			t.Errorf("%s holds %d files after 40 days, %v; want at most %d", dir, len(files), err, most)
		}
	}
	b.client().want(FleetTarget, b.clock.String())
}

// What is built anew while it is published is not published.
func TestReleaseThatChanges(t *testing.T) {
	b := newBench(t)
	for n, name := range []string{release.KernelFile, release.RootFile, release.LoaderFile} {
		dir := testRelease(t, "1", "", b.clock)
		description, err := os.ReadFile(filepath.Join(dir, release.FileName))
		b.must(err)
		add, err := contents(dir, description)
		b.must(err)
		b.must(os.WriteFile(filepath.Join(dir, name), []byte("another build"), 0o644))
		_, err = b.store(ReleaseTarget("1", name), add[ReleaseTarget("1", name)])
		wantError(t, err, name, "changes while")
		if _, err := contents(dir, description); (err == nil) != (n == 2) {
			t.Errorf("chunk index of %s: %v", name, err)
		}
	}
}

func TestReleasesByAge(t *testing.T) {
	b := newBench(t)
	b.release("b", -2)
	b.release("a", -1)
	b.release("c", -3)
	rels, err := b.Releases()
	b.must(err)
	var got []string
	for _, r := range rels {
		got = append(got, r.Version)
	}
	if diff := cmp.Diff([]string{"c", "b", "a"}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestRolloutMistakes(t *testing.T) {
	b := newBench(t)
	set := func(r rollout.Rollout) error { _, err := b.SetRollout(t.Context(), r); return err }
	wantError(t, set(rollout.Rollout{Version: "1"}), `"1" is not published`, "none", "mirrorctl release")
	b.release("1", -1)
	b.release("2", 0)
	b.rollout("2", 0)
	wantError(t, set(rollout.Rollout{Version: "3"}), `"3" is not published`, "1, 2")
	wantError(t, set(rollout.Rollout{Version: "1"}), "1 is older than 2", "mirrorctl rollback 1")
	wantError(t, set(rollout.Rollout{Version: "2", Sequence: 1}), "sequence 1 is not above 1")
	wantError(t, set(rollout.Rollout{Version: "2", Minimum: "3"}), "minimum: 3 is newer than release 2")
	wantError(t, set(rollout.Rollout{Version: "2", Percent: 3}), `percent: "3"`)
	b.must(set(rollout.Rollout{Version: "1", Emergency: true, Percent: 100}))
	got, err := b.Rollout()
	b.must(err)
	if got.Sequence != 2 || got.Version != "1" {
		t.Errorf("decision = %+v", got)
	}
}

func TestExpiryAndRenewal(t *testing.T) {
	b := newBench(t)
	node := b.client()
	_, err := b.SetTargets(t.Context(), map[string][]byte{"x": []byte("x")})
	b.must(err)
	node.want("x", "x")
	b.clock = b.clock.Add(31 * 24 * time.Hour)
	_, err = node.get("x")
	wantError(t, err, "expired")
	b.must(b.Renew(t.Context()))
	node.want("x", "x")
	for range 12 {
		b.clock = b.clock.Add(29 * 24 * time.Hour)
		b.must(b.Renew(t.Context()))
	}
	_, err = node.get("x")
	wantError(t, err, "targets", "expired")
	b.must(b.Renew(t.Context(), metadata.TARGETS))
	node.want("x", "x")
	b.clock = b.clock.Add(400 * 24 * time.Hour)
	b.must(b.Renew(t.Context(), metadata.TARGETS))
	_, err = node.get("x")
	wantError(t, err, "root.json is expired")
	b.must(b.Renew(t.Context(), metadata.TARGETS, metadata.ROOT))
	node.want("x", "x")
	wantError(t, b.Renew(t.Context(), "rot"), `"rot"`, "timestamp")
}

func TestStatus(t *testing.T) {
	b := newBench(t)
	got, err := b.Status()
	b.must(err)
	b.must(os.Remove(b.keyFiles(metadata.ROOT)[1]))
	after, err := b.Status()
	b.must(err)
	got[0].Keys[1].File = ""
	if diff := cmp.Diff(got, after); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if got[0].Threshold != 2 || len(got[0].Keys) != 3 || !got[3].Expires.Equal(b.clock.AddDate(0, 0, 30)) {
		t.Errorf("status = %+v", got)
	}
}

// TestAlteredFilesAreNotSigned plays someone who can write to the web server.
func TestAlteredFilesAreNotSigned(t *testing.T) {
	for name, alter := range map[string]func(b *bench){
		"timestamp": func(b *bench) { b.replace(b.timestamp(), "2026-12", "2036-12") },
		"snapshot":  func(b *bench) { b.replace(b.metadata(1, snapshotMeta), "2026-12", "2036-12") },
		"targets":   func(b *bench) { b.replace(b.metadata(1, targetsMeta), "2027-11", "2037-11") },
		"new root": func(b *bench) {
			b.must(os.WriteFile(b.metadata(2, rootMeta), b.first, 0o644))
			b.replace(b.metadata(2, rootMeta), `"version": 1`, `"version": 2`)
		},
		"own root": func(b *bench) {
			evil := newBench(b.t)
			b.must(os.RemoveAll(b.Dir))
			b.must(os.CopyFS(b.Dir, os.DirFS(evil.Dir)))
		},
		"own keys": func(b *bench) {
			s, err := b.load()
			b.must(err)
			evil := Keys{Dirs: []string{b.t.TempDir()}}
			keys := map[string][]*key{}
			for _, role := range Roles() {
				keys[role], err = evil.fresh(role, 1, nil)
				b.must(err)
				b.must(s.root.Signed.AddKey(keys[role][0].public, role))
			}
			c, err := b.sign(s, true, keys)
			b.must(err)
			b.must(b.write(c))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			alter(b)
			wantError(t, b.Renew(t.Context()), "renew", "restore")
		})
	}
}

func (b *bench) replace(file, old, new string) {
	b.t.Helper()
	data, err := os.ReadFile(file)
	b.must(err)
	if !strings.Contains(string(data), old) {
		b.t.Fatalf("%s has no %q", file, old)
	}
	b.must(os.WriteFile(file, []byte(strings.ReplaceAll(string(data), old, new)), 0o644))
}

func TestAlteredTarget(t *testing.T) {
	b := newBench(t)
	b.release("1", 0)
	decision := b.rollout("1", 0)
	files, err := filepath.Glob(filepath.Join(b.Dir, "targets", "*.rollout.json"))
	b.must(err)
	b.replace(files[0], `"percent": 0`, `"percent": 100`)
	_, err = b.Rollout()
	wantError(t, err, rollout.Target, "restore")
	b.must(os.Remove(files[0]))
	_, err = b.Rollout()
	wantError(t, err, rollout.Target, "restore")
	if decision.Percent != 0 {
		t.Errorf("decision = %+v", decision)
	}
}

func TestWithoutRepository(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mistyped")
	if err := At(dir).Renew(t.Context()); !errors.Is(err, ErrNone) {
		t.Errorf("error = %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a mistyped folder was made")
	}
	b := newBench(t)
	wantError(t, b.Init(t.Context()), "already")
	b.must(os.Rename(b.Dir, b.Dir+".moved"))
	wantError(t, b.Init(t.Context()), "root.json is there", "restore it")
	b.must(os.Rename(b.Dir+".moved", b.Dir))
	b.must(os.Remove(b.Root))
	wantError(t, b.Renew(t.Context()), "root.json", "copy it from")
}

func TestBadTargetNames(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"", "/x", "../x", "a/../x", "a//b", "a/", ".x", "a b", "a\x00"} {
		_, err := b.SetTargets(t.Context(), map[string][]byte{name: nil})
		wantError(t, err, "is no path")
	}
}

func TestOneChangeAtATime(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := b.locked(t.Context(), func() error {
		cancel()
		return b.Renew(ctx)
	})
	wantError(t, err, "another mirrorctl")
	b.must(b.Renew(t.Context()))
}
