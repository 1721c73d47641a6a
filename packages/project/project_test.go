package project

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCatalogueIsUsable(t *testing.T) {
	for name, p := range Catalogue() {
		if f := p.Faults(); f != nil {
			t.Errorf("%s: %v", name, f)
		}
		if p.Size == 0 || p.Files == 0 || len(p.Clients) == 0 || p.Description == "" {
			t.Errorf("%s: estimate, client lines or description missing", name)
		}
		if len(p.Index)+len(p.Top) == 0 {
			t.Errorf("%s: no metadata patterns", name)
		}
	}
}

// Every project whose upstream has a file that changes with each of its own
// updates is judged by it; the others by the size and time of their files alone.
func TestFreshnessFiles(t *testing.T) {
	var without []string
	for name, p := range Catalogue() {
		if p.Freshness.File == "" {
			without = append(without, name)
		} else if p.Phase(p.Freshness.File) == Content {
			t.Errorf("%s: its freshness file %s is not published with the metadata", name, p.Freshness.File)
		}
	}
	slices.Sort(without)
	if diff := cmp.Diff([]string{"cvebin", "gimp", "linuxmint-images"}, without); diff != "" {
		t.Errorf("without a freshness file, -want +got\n%s", diff)
	}
}

// Paths, modules, topics and rates are registered elsewhere: a change here must
// be a change there.
func TestContractualNames(t *testing.T) {
	want := `almalinux almalinux<-almalinux/ module almalinux:almalinux topic almalinux rate 25M
alpine alpine<-alpine/ module alpine:alpine topic alpine rate 25M
archlinux archlinux<-archlinux/ module archlinux:archlinux topic archlinux rate 10M
centos-stream centos-stream<-centos-stream/ module centos-stream:centos-stream topic centos-stream rate 25M
cvebin cvebin<-cvebin/ module cvebin:cvebin topic cvebin rate 25M
debian debian<-debian/ module debian:debian topic debian rate 25M
debian-security debian-security<-debian-security/ module debian-security:debian-security topic debian-security rate 25M
epel epel<-fedora-epel/ module fedora-epel:epel topic fedora rate 25M
epel-amd64 epel<-fedora-epel/ module fedora-epel:epel topic fedora rate 25M
fdroid-repo fdroid/repo<-fdroid/repo module fdroid:fdroid topic fdroid rate 25M
fedora fedora<-fedora-enchilada0/ module fedora-enchilada:fedora topic fedora rate 25M
fedora-amd64 fedora<-fedora-enchilada0/ module fedora-enchilada:fedora topic fedora rate 25M
gimp gimp<-gimp/ module gimp:gimp topic gimp rate 25M
kali-images kali-images<-kali-images/ module kali-images:kali-images topic kali-images rate 25M
kde kde<-kdeftp/ module kde:kde topic kde rate 25M
kdeftp-stable kdeftp<-kdeftp/ module kdeftp:kdeftp topic kde rate 25M
linuxmint-images linuxmint-images<-linuxmint-images/ module linuxmint-images:linuxmint-images topic linuxmint-images rate 25M
manjaro manjaro<-manjaro/ module manjaro:manjaro topic manjaro rate 10M
opensuse opensuse/tumbleweed<-opensuse/tumbleweed module opensuse:opensuse topic opensuse rate 25M
raspbian raspbian<-raspbian/ module raspbian:raspbian topic raspbian rate 25M
rocky rocky<-rocky/ module rocky:rocky topic rocky rate 25M
rpmfusion-nonfree rpmfusion/nonfree<-rpmfusion/nonfree module rpmfusion:rpmfusion topic rpmfusion rate 25M
tdf tdf<-tdf-pub/ module tdf-pub:tdf topic tdf rate 25M
ubuntu ubuntu<-ubuntu/ module ubuntu:ubuntu topic ubuntu rate 25M
ubuntu-releases ubuntu-releases<-ubuntu-releases/ module ubuntu-releases:ubuntu-releases topic ubuntu-releases rate 25M
videolan videolan-ftp<-videolan-ftp/ module videolan-ftp:videolan-ftp topic videolan rate 25M`
	all := Catalogue()
	var got []string
	for _, n := range slices.Sorted(maps.Keys(all)) {
		p := all[n]
		got = append(got, n+" "+p.Path+"<-"+p.Upstream.Module+"/"+p.Upstream.Path+" module "+p.Module.Name+":"+p.Module.Path+
			" topic "+p.Topic+" rate "+p.Rate.String())
	}
	if diff := cmp.Diff(want, strings.Join(got, "\n")); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestPhase(t *testing.T) {
	tests := []struct {
		project, name string
		want          Phase
	}{
		{"debian", "pool/main/a/apt/apt_3.0_amd64.deb", Content},
		{"debian", "dists/trixie/main/binary-amd64/by-hash/SHA256/abc", Index},
		{"debian", "dists/trixie/main/binary-amd64/Packages.xz", Index},
		{"debian", "dists/stable", Index},
		{"debian", "dists/trixie/InRelease", Top},
		{"debian", "dists/trixie/main/binary-amd64/Release", Top},
		{"debian", "project/trace/_traces", Top},
		{"debian", "ls-lR.gz", Index},
		{"almalinux", "10/BaseOS/x86_64/os/Packages/bash.rpm", Content},
		{"almalinux", "10/BaseOS/x86_64/os/repodata/abc-primary.xml.gz", Index},
		{"almalinux", "10/BaseOS/x86_64/os/repodata/repomd.xml", Top},
		{"almalinux", "TIME", Top},
		{"almalinux", "10/TIME", Content},
		{"archlinux", "core/os/x86_64/core.db.tar.gz", Index},
		{"archlinux", "lastsync", Top},
		{"manjaro", "stable/state", Top},
		{"fedora-amd64", "linux/releases/42/Server/x86_64/iso/Fedora-CHECKSUM", Index},
		{"alpine", "edge/main/x86_64/APKINDEX.tar.gz", Top},
		{"fdroid-repo", "index-v2.json", Index},
		{"fdroid-repo", "entry.jar", Top},
		{"ubuntu-releases", ".trace/host", Top},
	}
	all := Catalogue()
	for _, tt := range tests {
		p := all[tt.project]
		if got := p.Phase(tt.name); got != tt.want {
			t.Errorf("%s: Phase(%q) = %d, want %d", tt.project, tt.name, got, tt.want)
		}
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"*.db", "core/os/core.db", true},
		{"*.db", "core.db/x", false},
		{"/a/*.x", "a/b.x", true},
		{"/a/*.x", "a/b/c.x", false},
		{"/a/**.x", "a/b/c.x", true},
		{"/a/**", "a/", true},
		{"/a/**", "a", false},
		{"dists/**", "x/dists/y/z", true},
		{"dists/**", "mydists/y", false},
		{"a?c", "abc", true},
		{"a?c", "a/c", false},
		{"[a-c]x", "bx", true},
		{"[!a-c]x", "bx", false},
		{"[^a-c]x", "dx", true},
		{"[]x]y", "]y", true},
		{"[a", "a", false},
		{`\*x`, "*x", true},
		{`\*x`, "ax", false},
		{"", "", true},
		{"", "a", false},
	}
	for _, tt := range tests {
		if got := Match(tt.pattern, tt.name); got != tt.want {
			t.Errorf("Match(%q, %q) = %v", tt.pattern, tt.name, got)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("/a/**/[a-z]*.x?", "a/b/cd.xy")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 12 || len(name) > 24 {
			return // stars cost powers of the length; the patterns are ours
		}
		if Match(pattern, name) && !strings.ContainsAny(pattern, `*?[\/`) && !strings.HasSuffix(name, pattern) {
			t.Errorf("literal %q matched %q", pattern, name)
		}
	})
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "1": 1, "25M": 25 << 20, "10m": 10 << 20, "1.5T": 3 << 39, "900G": 900 << 30, "1025": 1025} {
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "M", "x", "-1", "1e9", "1MB", "4096P", "99999999999999999999", "1.2.3"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, got)
		}
	}
}

func FuzzSize(f *testing.F) {
	f.Add("25M")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSize(text)
		if err != nil {
			return
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var again Size
		if err := json.Unmarshal(b, &again); err != nil || again != s {
			t.Errorf("%q: %d became %s, then %d, %v", text, s, b, again, err)
		}
	})
}

func TestFaults(t *testing.T) {
	p := Complete("x", Project{
		Kind: "zip", Path: "../etc", Upstream: Upstream{Module: "a b", Path: "/x"}, Module: Module{Name: "-m", Path: "y"},
		Topic: "a/b", Rate: 1, MaxDelete: 101, Filter: []string{"merge /etc/passwd"},
		Freshness: Freshness{File: "/etc/x", Kind: "age"}, Trace: Trace{File: "..", Format: "x"},
	})
	var got []string
	for _, f := range p.Faults() {
		got = append(got, f.Field)
	}
	want := []string{"kind", "path", "upstream.module", "upstream.path", "module.name", "module.path", "topic", "rate", "max_delete", "filter[0]",
		"freshness.file", "freshness.kind", "trace.file", "trace.format"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestOverlapsAndClientLines(t *testing.T) {
	all := Catalogue()
	a, b, c := all["epel"], all["epel-amd64"], all["debian"]
	d := all["debian-security"]
	if !a.Overlaps(&b) || a.Overlaps(&c) || c.Overlaps(&d) {
		t.Error("overlap of trees misjudged")
	}
	got := c.ClientLines("http://node.example.net/debian/")[0].Lines[0]
	if want := "deb http://node.example.net/debian trixie main"; got != want {
		t.Errorf("client line = %q, want %q", got, want)
	}
}
