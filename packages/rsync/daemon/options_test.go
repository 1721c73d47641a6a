package daemon

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseOptions(t *testing.T) {
	for _, tt := range []struct {
		args  string
		check func(o *options) bool
	}{
		{"--server --sender -vlogDtprHe.iLsfxCIvu", func(o *options) bool {
			return o.server && o.sender && o.links && o.owner && o.group && o.devices && o.specials && o.times && o.perms &&
				o.recurse && o.hardLinks && o.info == ".iLsfxCIvu"
		}},
		{"-a --no-r --no-links --no-D", func(o *options) bool { return !o.recurse && !o.links && !o.devices && !o.specials && o.perms }},
		{"-rR --no-relative --no-implied-dirs", func(o *options) bool { return !o.relative && o.noRelative && o.noImplied }},
		{"--timeout=30 --checksum-seed 5 --checksum-choice=md5", func(o *options) bool { return o.timeout == 30 && o.seed == 5 && o.checksumChoice == "md5" }},
		{"--bwlimit=9 --timeout=1", func(o *options) bool { return o.bandwidth == 9 }},
		{"--bwlimit=9m", func(o *options) bool { return o.bandwidth == 0 }},
		{"--timeout=-5", func(o *options) bool { return o.timeout == 0 }},
		{"-B700 -T /tmp --append --append -n", func(o *options) bool { return o.appends == 2 && o.dryRun }},
		{"--exclude=*.foo --include bar -f -_x", func(o *options) bool { return o.filter.Len() == 3 }},
		{"--files-from=- --from0", func(o *options) bool { return o.filesFrom && o.fromNul }},
		{"-r -- --nonsense", func(o *options) bool { return o.recurse }},
		{"--delete-delay --delay-updates --fuzzy --bwlimit=9 -S -W --partial --inplace --safe-links --numeric-ids",
			func(o *options) bool { return o.inplace && o.numericIDs }},
		{"--compress-choice=none -0", func(o *options) bool { return o.fromNul }},
	} {
		o := new(options)
		if err := o.parse(strings.Fields(tt.args), nil); err != nil || !tt.check(o) {
			t.Errorf("parse(%q): %v, %+v", tt.args, err, o)
		}
	}
	for args, want := range map[string]string{
		"--nonsense":      "on remote machine: --nonsense: unknown option",
		"-r%":             "on remote machine: -%: unknown option",
		"--timeout":       "on remote machine: --timeout: missing argument",
		"-B":              "on remote machine: -B: missing argument",
		"--timeout=x":     `on remote machine: "x": invalid numeric value`,
		"--no-nonsense":   "on remote machine: --no-nonsense: unknown option",
		"-c":              "The server is configured to refuse --checksum (-c)",
		"--delete-before": "The server is configured to refuse --delete-before",
		"--backup-dir=/x": "The server is configured to refuse --backup-dir",
		"--iconv=utf8":    "The server is configured to refuse --iconv",
		"--zl=1":          "The server is configured to refuse --compress (-z)",
	} {
		err := new(options).parse([]string{args}, []string{"checksum", "delete-b*", "backup-dir"})
		if err == nil || err.Error() != want {
			t.Errorf("parse(%q) = %v, want %q", args, err, want)
		}
	}
}

func TestSanitize(t *testing.T) {
	for path, want := range map[string]string{
		"": "", "/": "", "/a//b/": "a/b/", "../a": "a", "a/../../b": "b", "/./a": "./a", "a/./b/": "a/./b/", "a/..": "", "a/../": "",
	} {
		if got := sanitize(path); got != want {
			t.Errorf("sanitize(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestUnescape(t *testing.T) {
	for arg, want := range map[string]string{`a\ b`: "a b", `\\`: `\`, `x\`: `x\`, `\*.o`: "*.o", "": ""} {
		if got := unescape(arg); got != want {
			t.Errorf("unescape(%q) = %q, want %q", arg, got, want)
		}
	}
}

func TestSplitArgs(t *testing.T) {
	opts, paths := splitArgs([]string{"--server", `--exclude=a\ b`, ".", "mod/", `mod/a\ b`}, true)
	if diff := cmp.Diff([][]string{{"--server", "--exclude=a b", "."}, {"mod/", `mod/a\ b`}}, [][]string{opts, paths}); diff != "" {
		t.Errorf("splitArgs (-want +got):\n%s", diff)
	}
}

func TestConfigErrors(t *testing.T) {
	for _, modules := range [][]Module{
		{{Name: "", Path: "/x"}}, {{Name: "a b", Path: "/x"}}, {{Name: "a/b", Path: "/x"}}, {{Name: "#a", Path: "/x"}}, {{Name: "a"}},
		{{Name: "a", Path: "/x"}, {Name: "a", Path: "/y"}}, {{Name: "a", Path: "/x", Exclude: []string{""}}},
	} {
		if _, err := New(Config{Modules: modules}); err == nil {
			t.Errorf("New(%+v) succeeded, want an error", modules)
		}
	}
}
