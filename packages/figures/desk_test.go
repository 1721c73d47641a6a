package figures

import (
	"path/filepath"
	"strings"
	"testing"
)

// Every command is one that mirrorctl knows, and what failed is named after what
// was measured.
func TestDeskStepsAreCommands(t *testing.T) {
	dir := t.TempDir()
	steps := deskSteps(filepath.Join(dir, "fleet"), dir, filepath.Join(dir, "disk"), filepath.Join(dir, "release"), dir)
	got, err := commands(t.Context(), append(steps[:1:1], steps[2:5]...))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 5 || got[0].Name != "mirrorctl init" || got[4].Aim == 0 {
		t.Errorf("figures = %+v", got)
	}
	got, err = commands(t.Context(), steps[5:])
	if err == nil || !strings.Contains(err.Error(), "mirrorctl flash") || !strings.Contains(err.Error(), "release") || len(got) != 0 {
		t.Errorf("without a release: %+v, %v", got, err)
	}
}
