package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// archive makes a small Debian archive.
func archive(t *testing.T, root string) {
	files := map[string]string{
		"ls-lR.gz": "list", "README": "readme", "project/trace/master": "trace", "project/trace/other.example": "trace",
		"project/trace/_traces": "all", "project/README": "r", "Archive-Update-in-Progress-up.example": "now", "dists/stable": "->trixie",
		"dists/trixie/InRelease": "in", "dists/trixie/Release": "rel", "dists/trixie/Release.gpg": "sig", "dists/trixie/ChangeLog": "c",
		"dists/trixie/main/Contents-armhf.gz": "c", "indices/files/arch-armhf.files": "f", "pool/main/h/hello/hello_1_source.tar.xz": "t",
	}
	for _, arch := range []string{"amd64", "armhf", "all"} {
		files["pool/main/h/hello/hello_1_"+arch+".deb"] = strings.Repeat(arch, 5000)
		dir := "dists/trixie/main/binary-" + arch + "/"
		files[dir+"Packages.xz"], files[dir+"Release"] = arch, arch
		files[dir+"by-hash/SHA256/0123"] = "=" + dir + "Packages.xz"
		files[dir+"Packages.diff/Index"], files[dir+"Packages.diff/T-1.gz"] = "i", "d"
	}
	for _, lang := range []string{"de", "en"} {
		files["dists/trixie/main/i18n/Translation-"+lang+".bz2"] = lang
		files["dists/trixie/main/i18n/by-hash/SHA256/"+lang] = lang
	}
	tree(t, root, files)
	open(t, root)
}

// ftpsync gives the arguments of ftpsync 20180513's calls of rsync on a mirror
// without armhf: first everything but the indexes, then the rest and deletions.
func ftpsync(log string) (stages [2][]string) {
	common := []string{"--quiet", "--log-file", log}
	for _, name := range []string{"Archive-Update-in-Progress-me.example", "Archive-Update-Required-me.example", "project/trace/me.example"} {
		common = append(common, "--filter=exclude_/"+name, "--filter=protect_/"+name)
	}
	common = append(common, strings.Fields(`--filter=include_/project/ --filter=protect_/project/ --filter=include_/project/trace/
 --filter=protect_/project/trace/ --filter=include_/project/trace/* --bwlimit=0 -prltvHSB8192 --safe-links --chmod=D755,F644
 --timeout 120 --stats --no-human-readable --no-inc-recursive --filter=exclude_/dists/**/binary-armhf/
 --filter=exclude_/dists/**/installer-armhf/ --filter=exclude_/dists/**/Contents-armhf.gz --filter=exclude_/indices/**/arch-armhf.files
 --filter=exclude_/pool/**/*_armhf.deb --exclude=.~tmp~/ --exclude=Archive-Update-in-Progress-up.example`)...)
	for i, stage := range []string{`--include=*.diff/ --exclude=*.diff/Index --exclude=Packages* --exclude=Sources* --exclude=Release*
 --exclude=InRelease --include=i18n/by-hash --exclude=i18n/* --exclude=ls-lR*`,
		"--max-delete=40000 --delay-updates --delete --delete-delay --delete-excluded"} {
		stages[i] = append(slices.Clone(common), strings.Fields(stage)...)
	}
	return stages
}

// TestFtpsync runs both stages of ftpsync against rsync's daemon and ours, into
// mirrors that were in different states before.
func TestFtpsync(t *testing.T) {
	root := filepath.Join(t.TempDir(), "debian")
	archive(t, root)
	m := mirrorModule(root)
	theirs, ours := startC(t, m), start(t, Config{Modules: []Module{m}, Refuse: []string{"checksum"}})
	base := filepath.Join(t.TempDir(), "base")
	tree(t, base, map[string]string{
		"project/trace/me.example": "mine", "project/trace/gone": "x", "pool/main/h/hello/hello_0_amd64.deb": "old",
		"pool/main/h/hello/hello_1_armhf.deb": "not wanted", "dists/trixie/InRelease": "old", "Archive-Update-in-Progress-me.example": "",
	})
	for protocol := 27; protocol <= 32; protocol++ {
		t.Run(fmt.Sprint(protocol), func(t *testing.T) {
			var states [2][]string
			for i, addr := range []string{theirs, ours} {
				dst := filepath.Join(t.TempDir(), "dst")
				must(t, "-a", base+"/", dst)
				for _, stage := range ftpsync(filepath.Join(t.TempDir(), "log")) {
					must(t, append(stage, fmt.Sprintf("--protocol=%d", protocol), "rsync://"+addr+"/mirror/", dst+"/")...)
					states[i] = append(states[i], describe(t, dst)...)
				}
				if _, err := os.Stat(filepath.Join(dst, "project/trace/me.example")); err != nil {
					t.Error(err)
				}
			}
			if diff := gocmp.Diff(states[0], states[1]); diff != "" {
				t.Errorf("mirrors (-theirs +ours):\n%s", diff)
			}
		})
	}
}
