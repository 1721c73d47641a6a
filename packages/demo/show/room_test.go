package show

import (
	"os"
	"path/filepath"
	"testing"
)

func TestNeedsLessWhenBuilt(t *testing.T) {
	build := t.TempDir()
	if got := needs(build); got != roomMachine+roomUpstream+roomRelease {
		t.Errorf("an empty folder needs %d", got)
	}
	if err := os.MkdirAll(filepath.Join(build, "release"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(build, "release", "release.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := needs(build); got != roomMachine+roomUpstream {
		t.Errorf("with a release %d are needed", got)
	}
}
