package clients

import (
	"bytes"
	"log/slog"
	"testing"

	"micromirror/packages/mirror/mirrortest"
)

// TestRealClients lets apt, dnf, pacman and rsync work with the three mirrors while
// upstream changes. With ours none may fail but apt without by-hash, which asks
// for two files under names that outlive their content: caught between them, it
// has to try again, whatever a mirror does.
func TestRealClients(t *testing.T) {
	results, err := Run(t.Context(), Options{
		Dir: mirrortest.TempDir(t), Versions: versions, Rounds: 1, Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
		Progress: func(version int, results []Result) {
			if version%10 == 0 {
				t.Logf("version %d of %d\n%s", version, versions, table(t, results))
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d versions\n%s", versions, table(t, results))
	if len(results) != 15 {
		t.Errorf("%d results, want 15", len(results))
	}
	for _, r := range results {
		if r.Rounds < versions {
			t.Errorf("%s with %s: %d rounds", r.Client, r.Mirror, r.Rounds)
		}
		if r.Mirror == Ours && r.Failed > 0 && r.Client != "apt without by-hash" {
			t.Errorf("%s failed %d times: %s", r.Client, r.Failed, r.Example)
		}
		if r.Failed == r.Rounds {
			t.Errorf("%s with %s never succeeds: %s", r.Client, r.Mirror, r.Example)
		}
	}
}

func table(t *testing.T, results []Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := Print(&b, results); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
