package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNetworkComesFirst(t *testing.T) {
	const address, gateway = `{"address":"192.0.2.2/24","state":"ok"}`, `{"address":"192.0.2.1","reachable":true}`
	for name, test := range map[string]struct{ state, want string }{
		"not asked":         {"", "no report"},
		"no address":        {`{"addresses":[],"gateways":[` + gateway + `]}`, "no address yet"},
		"no gateway":        {`{"addresses":[` + address + `]}`, "no gateway known"},
		"gateway is silent": {`{"addresses":[` + address + `],"gateways":[{"address":"192.0.2.1"}]}`, "192.0.2.1 does not answer"},
		"on the bench":      {`{"mode":"rescue","addresses":[` + address + `],"gateways":[` + gateway + `]}`, "not in its own network"},
		"up":                {`{"addresses":[` + address + `],"gateways":[` + gateway + `]}`, ""},
		"partly up":         {`{"addresses":[` + address + `,{"address":"2001:db8::2/64","state":"duplicate"}],"gateways":[` + gateway + `]}`, ""},
	} {
		f := flags{netd: filepath.Join(t.TempDir(), "state.json")}
		if test.state != "" {
			if err := os.WriteFile(f.netd, []byte(test.state), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		switch err := f.network(); {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: got %v, want %s", name, err, test.want)
		}
	}
	if err := (&flags{}).network(); err != nil {
		t.Errorf("on a developer's computer: %v", err)
	}
}
