//go:build faults

package mirror

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOrderedFaults(t *testing.T) {
	steps := []string{"list", "plan", "fetch", "verify", "sync", "journal", "dir pool", "file pool/a", "switch .", "bring out", "file dists/x/Release", "settle .", "drop pool/b", "finish"}
	want := map[string]string{
		"list": "list", "fetch": "fetch", "verify": "verify", "journal": "journal", "publish": "file pool/a", "switch": "bring out",
		"index": "file dists/x/Release", "settle": "settle .", "delete": "drop pool/b", "other": "",
	}
	got := map[string]string{}
	for phase := range want {
		got[phase] = hangsAt(t, phase, steps)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// hangsAt tells at which step a run hangs that is ordered to in a phase.
func hangsAt(t *testing.T, phase string, steps []string) string {
	reports, done := make(chan string), make(chan struct{})
	hook := Faults("ro mm.fault=never-bless,sync-"+phase+"-hang quiet", func(reported string) { reports <- reported })
	at := make(chan string, len(steps))
	go func() {
		defer close(done)
		for _, step := range steps {
			at <- step
			hook(step)
		}
	}()
	select {
	case <-done:
		return ""
	case reported := <-reports:
		if reported != phase {
			t.Errorf("reported %s, ordered %s", reported, phase)
		}
		last := ""
		for len(at) > 0 {
			last = <-at
		}
		return last
	}
}
