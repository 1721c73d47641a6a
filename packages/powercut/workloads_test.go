package powercut

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"micromirror/packages/repository"
	"micromirror/packages/scenario"
	"micromirror/packages/vm"
)

// The server keeps its address from one run to the next, and serves nothing before
// it is opened.
func TestChannelServes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "address")
	var urls []string
	for range 2 {
		c := &channel{done: make(chan error, 1), office: &scenario.Office{Repository: &repository.Repository{Dir: dir}}}
		if err := c.serve(file); err != nil {
			t.Fatal(err)
		}
		urls = append(urls, c.office.URL)
		address, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		get := func() string {
			resp, err := http.Get("http://" + string(address) + "/address")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		if got := get(); got == string(address) {
			t.Error("a closed channel served a file")
		}
		saw := ""
		opened := c.opened(func(context.Context, *vm.Machine) error { saw = get(); return nil })
		if err := opened(t.Context(), nil); err != nil || saw != string(address) {
			t.Errorf("an open channel served %q, want %q (error %v)", saw, address, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if urls[0] != urls[1] || !strings.HasPrefix(urls[0], "http://10.0.2.2:") {
		t.Errorf("the addresses are %q", urls)
	}
}

func TestChannelAddressTaken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "address")
	if err := os.WriteFile(file, []byte("192.0.2.1:1"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &channel{done: make(chan error, 1), office: &scenario.Office{Repository: &repository.Repository{}}}
	if err := c.serve(file); err == nil {
		t.Error("served at an address that is not here", errors.Join(c.Close()))
	}
}
