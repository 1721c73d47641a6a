package kmod

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/kmod/kmodtest"
)

func TestName(t *testing.T) {
	for file, want := range map[string]string{
		"kernel/drivers/i2c/i2c-i801.ko.xz": "i2c_i801", "a/b.ko": "b", "nls_iso8859-1": "nls_iso8859_1",
	} {
		if got := Name(file); got != want {
			t.Errorf("Name(%q) = %q, want %q", file, got, want)
		}
	}
}

func TestParseReadsModinfo(t *testing.T) {
	m := kmodtest.Module{Modinfo: []string{
		"license=GPL", "depends=crc16,nls-base,", "alias=pci:v00008086d*sv*sd*bc*sc*i*", "alias=has space", "alias=fs-ext4",
		"softdep=pre: crc32c  other post: later", "softdep=pre: more", "firmware=rtl_nic/a.fw", "no equals sign",
	}}
	got, err := Parse("kernel/fs/ext-4.ko", bytes.NewReader(m.ELF()))
	if err != nil {
		t.Fatal(err)
	}
	want := Module{
		Name: "ext_4", Path: "kernel/fs/ext-4.ko", Depends: []string{"crc16", "nls_base"},
		Aliases: []string{"pci:v00008086d*sv*sd*bc*sc*i*", "fs-ext4"},
		Pre:     []string{"crc32c", "other", "more"}, Post: []string{"later"}, Firmware: []string{"rtl_nic/a.fw"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Parse (-want +got):\n%s", d)
	}
}

func TestParseRefusesWhatIsNoModule(t *testing.T) {
	good := kmodtest.Module{Modinfo: []string{"license=GPL"}}.ELF()
	for name, b := range map[string][]byte{
		"empty": nil, "text": []byte("#!/bin/sh\n"), "truncated": good[:100],
		"no modinfo": bytes.ReplaceAll(good, []byte(".modinfo"), []byte(".xodinfo")),
	} {
		if _, err := Parse("x.ko", bytes.NewReader(b)); err == nil || !strings.Contains(err.Error(), "x.ko") {
			t.Errorf("%s: error %v, want one that names the file", name, err)
		}
	}
}

// FuzzModinfo holds whatever a module may say about itself against what the
// index can carry.
func FuzzModinfo(f *testing.F) {
	f.Add([]byte("depends=a,b\x00alias=pci:*\x00softdep=pre: x post: y\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := parseModinfo("a/x.ko", b)
		if m.Name != "x" {
			t.Errorf("name %q", m.Name)
		}
		for _, a := range m.Aliases {
			if len(strings.Fields(a)) != 1 {
				t.Errorf("alias %q would break the index", a)
			}
		}
	})
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"abc", "abc", true},
		{"a*c", "abbbc", true},
		{"a*c", "abbb", false},
		{"a?c", "a/c", true},
		{"dmi:*svnDell*:", "dmi:bvn/x:svnDell Inc.:", true},
		{"pci:v00001AF4d*sv*sd*bc*sc*i*", "pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00", true},
		{"pci:v00001AF4d*sv*sd*bc*sc*i*", "pci:v00008086d00001001sv00001AF4sd00000002bc01sc00i00", false},
		{"usb:v0bda[0-9a-c]x", "usb:v0bdabx", true},
		{"usb:v0bda[0-9a-c]x", "usb:v0bdadx", false},
		{"[!a]b", "cb", true},
		{"[!a]b", "ab", false},
		{"a[", "a[", true},
		{"*a*a*a*a*a*a*a*a*b", strings.Repeat("a", 200), false},
	} {
		if got := match(c.pattern, c.s); got != c.want {
			t.Errorf("match(%q, %q) = %v, want %v", c.pattern, c.s, got, c.want)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("pci:*", "pci:", "x")
	f.Fuzz(func(t *testing.T, pattern, a, b string) {
		match(pattern, a) // ends, does not panic
		if !strings.ContainsAny(pattern, "*?[") && !match("*"+pattern+"*", a+pattern+b) {
			t.Errorf("*%s* does not match %q", pattern, a+pattern+b)
		}
	})
}

func TestClaims(t *testing.T) {
	mods := []Module{
		{Name: "r8169", Aliases: []string{"pci:v000010ECd00008168sv*sd*bc*sc*i*"}},
		{Name: "generic", Aliases: []string{"pci:v*d*sv*sd*bc02sc00i*"}},
		{Name: "tg3", Aliases: []string{"pci:v000014E4d0000165Fsv*sd*bc*sc*i*"}},
	}
	got := Claims(mods, "pci:v000010ECd00008168sv00000000sd00000000bc02sc00i00")
	if d := cmp.Diff([]string{"generic", "r8169"}, got); d != "" {
		t.Errorf("Claims (-want +got):\n%s", d)
	}
}
