package verify

import (
	"archive/zip"
	"bytes"
	"fmt"
	"testing"

	"micromirror/packages/mirror/mirrortest"
)

// jar is an archive with one file.
func jar(name, content string) string {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if w, err := z.Create(name); err == nil {
		w.Write([]byte(content))
	}
	z.Close()
	return b.String()
}

// fdroidFileJSON names a file with its size and sum.
func fdroidFileJSON(name, content string) string {
	return fmt.Sprintf(`{"name": %q, "sha256": %q, "size": %d}`, name, sum(content), len(content))
}

// fdroidEntryJar is the entry.jar for an index and a difference to an older one.
func fdroidEntryJar(index, diff string) string {
	return jar("entry.json", fmt.Sprintf(`{"timestamp": 2, "version": 30000, "index": %s, "diffs": {"1": %s}}`,
		fdroidFileJSON("/index-v2.json", index), fdroidFileJSON("/diff/1.json", diff)))
}

func TestFDroid(t *testing.T) {
	const diff = `{"packages": {}}`
	index := fmt.Sprintf(`{"repo": {"name": {"en": "x"}, "mirrors": [{"url": "y"}]}, "packages": {"org.a": {"metadata": {"added": 1},
		"versions": {"00": {"file": %s, "src": %s}}}, "org.none": {"metadata": {}}}}`,
		fdroidFileJSON("/org.a_1.apk", "package a"), fdroidFileJSON("/org.a_1_src.tar.gz", "source a"))
	leaving := `{"packages": {"a": {"versions": {"0": {"file": {"name": "/../../a.apk"}}}}}}`
	good := []string{"org.a_1.apk: package a", "org.a_1_src.tar.gz: source a", "diff/1.json: " + diff, "index-v2.json: " + index,
		"entry.jar: " + fdroidEntryJar(index, diff)}
	tests := []struct {
		name   string
		change []string
		want   string
	}{
		{"consistent", nil, ""},
		{"package missing", []string{"-org.a_1.apk"}, `"org.a_1.apk" is not there`},
		{"package of another size", []string{"org.a_1.apk: x"}, "1 bytes instead of 9"},
		{"package with another sum", []string{"org.a_1.apk: package b"}, "another SHA-256 sum"},
		{"source missing", []string{"-org.a_1_src.tar.gz"}, `"org.a_1_src.tar.gz" is not there`},
		{"index of another version", []string{"index-v2.json: " + index + " "}, `"index-v2.json" has`},
		{"difference missing", []string{"-diff/1.json"}, `"diff/1.json" is not there`},
		{"leads out", []string{"index-v2.json: " + leaving, "entry.jar: " + fdroidEntryJar(leaving, diff)}, "leads out"},
		{"cut index", []string{"index-v2.json: " + index[:99], "entry.jar: " + fdroidEntryJar(index[:99], diff)}, "unexpected EOF"},
		{"list for index", []string{"index-v2.json: []", "entry.jar: " + fdroidEntryJar("[]", diff)}, "no JSON object"},
		{"jar without an entry", []string{"entry.jar: " + jar("other", "x")}, "entry.json"},
		{"garbage", []string{"entry.jar: x"}, "not a valid zip file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := mirrortest.TempDir(t)
			mirrortest.Make(t, dir, good...)
			mirrortest.Make(t, dir, tt.change...)
			expect(t, checkKind(t, "fdroid", dir, false), tt.want)
		})
	}
}
