package node

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	goodKey  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIQkLsG6lv66vllqZBwFHrbFcuO+kTtuyQCSfQ2yRWBW desk@example.net"
	otherKey = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBBDSnhPtLOCzUbygxHMqPxrpMX3ldVOxOpUElrHK0rLsQuUjGRTJpRFrtsyt0RdB5LRPZB+aXhe56xN+3PUAWgw="
)

func TestManage(t *testing.T) {
	const allow = `"firewall": {"allow": ["192.0.2.0/24"]}, `
	for name, test := range map[string]struct {
		text string
		want Manage
		bad  string // in the problems; empty for none
	}{
		"none":           {``, Manage{Port: 22}, ""},
		"port only":      {`, "manage": {"port": 2222}`, Manage{Port: 2222}, ""},
		"good":           {`, "manage": {"keys": ["` + goodKey + `", "` + otherKey + `"]}`, Manage{Keys: []string{goodKey, otherKey}, Port: 22}, ""},
		"a served port":  {`, "manage": {"keys": ["` + goodKey + `"], "port": 443}`, Manage{Keys: []string{goodKey}, Port: 22}, "manage.port"},
		"no port at all": {`, "manage": {"port": 70000}`, Manage{Port: 22}, "manage.port"},
		"options":        {`, "manage": {"keys": ["no-pty ` + goodKey + `"]}`, Manage{Port: 22}, "ssh-keygen"},
		"rsa":            {`, "manage": {"keys": ["ssh-rsa AAAAB3NzaC1yc2E="]}`, Manage{Port: 22}, "ssh-keygen"},
		"another kind":   {`, "manage": {"keys": ["` + strings.Replace(goodKey, "ssh-ed25519 ", "ecdsa-sha2-nistp256 ", 1) + `"]}`, Manage{Port: 22}, "ssh-keygen"},
		"cut short":      {`, "manage": {"keys": ["` + strings.Replace(goodKey, "RWBW desk", "RW== desk", 1) + `"]}`, Manage{Port: 22}, "ssh-keygen"},
		"unknown":        {`, "manage": {"key": []}`, Manage{Port: 22}, `did you mean "keys"?`},
	} {
		t.Run(name, func(t *testing.T) {
			m, problems := readManage(t, allow, test.text)
			if d := cmp.Diff(test.want, m); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			if (test.bad == "") != (len(problems) == 0) || !strings.Contains(Problems(problems).Error(), test.bad) {
				t.Errorf("problems = %v, want %q", problems, test.bad)
			}
		})
	}
	m, problems := readManage(t, "", `, "manage": {"keys": ["`+goodKey+`"]}`)
	says := slices.ContainsFunc(problems, func(p Problem) bool { return strings.Contains(p.Remedy, "firewall.allow") })
	if m.On() || !says {
		t.Errorf("without prefixes: %v, %v", m, problems)
	}
}

func readManage(t *testing.T, allow, text string) (Manage, []Problem) {
	t.Helper()
	d := newDecoder("fleet.json")
	v, _, err := parse([]byte(`{` + allow + `"domain": "d.example", "upstream": "u.example"` + text + `}`))
	if err != nil {
		t.Fatal(err)
	}
	var f Fleet
	d.assign("", v, reflect.ValueOf(&f).Elem())
	return d.fleetFrom(f).Manage, d.problems
}

func FuzzIsPublicKey(f *testing.F) {
	for _, s := range []string{goodKey, otherKey, "ssh-ed25519 AAAA", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if isPublicKey(s) && strings.ContainsAny(s, "\r\n") {
			t.Error("a line end was taken")
		}
	})
}
