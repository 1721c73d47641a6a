//go:build vm

package scenario

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"
	"time"

	"micromirror/packages/demo"
	"micromirror/packages/vm"
)

// archive reads the demo's Debian archive as a node serves it, and holds it to
// what its index promises.
type archive struct{ base string }

// Reasons for which an archive could not be looked at.
var (
	errNotServed = errors.New("the archive is not served")
	errMoved     = errors.New("another index came while this one was followed")
)

// follow checks that all that the served index names is served with its size and
// sum: the package lists, under both their names, and the packages.
func (a *archive) follow(ctx context.Context) error {
	release, err := a.get(ctx, "dists/demo/InRelease")
	if err != nil {
		return err
	}
	err = a.followRelease(ctx, release)
	if err == nil || errors.Is(err, errNotServed) {
		return err
	}
	// A client without by-hash that is caught between two versions begins anew.
	now, nerr := a.get(ctx, "dists/demo/InRelease")
	if nerr != nil {
		return nerr
	}
	if now != release {
		return errMoved
	}
	return err
}

func (a *archive) followRelease(ctx context.Context, release string) error {
	_, sums, found := strings.Cut(release, "\nSHA256:\n")
	if !found {
		return fmt.Errorf("the index names nothing: %.200q", release)
	}
	lists := 0
	for line := range strings.Lines(sums) {
		f := strings.Fields(line)
		if !strings.HasPrefix(line, " ") || len(f) != 3 {
			break
		}
		lists++
		for _, name := range []string{f[2], path.Dir(f[2]) + "/by-hash/SHA256/" + f[0]} {
			list, err := a.file(ctx, "dists/demo/"+name, f[1], f[0])
			if err != nil {
				return err
			}
			if strings.HasSuffix(name, "/Packages") {
				if err := a.packages(ctx, list); err != nil {
					return err
				}
			}
		}
	}
	if lists == 0 {
		return fmt.Errorf("the index names no list: %.200q", release)
	}
	return nil
}

// packages checks what a list names.
func (a *archive) packages(ctx context.Context, list string) error {
	for stanza := range strings.SplitSeq(strings.TrimSpace(list), "\n\n") {
		field := map[string]string{}
		for line := range strings.Lines(stanza) {
			key, value, _ := strings.Cut(line, ":")
			field[key] = strings.TrimSpace(value)
		}
		if _, err := a.file(ctx, field["Filename"], field["Size"], field["SHA256"]); err != nil {
			return err
		}
	}
	return nil
}

// file gets a file that must have a size and a sum.
func (a *archive) file(ctx context.Context, name, size, sum string) (string, error) {
	text, err := a.get(ctx, name)
	if err != nil {
		return "", err
	}
	if got := fmt.Sprintf("%d %x", len(text), sha256.Sum256([]byte(text))); got != size+" "+sum {
		return "", fmt.Errorf("%s has size and sum %s, the index says %s %s", name, got, size, sum)
	}
	return text, nil
}

// get asks for a file. A server that is not there yet, or says that it is busy,
// serves nothing, and so nothing wrong.
func (a *archive) get(ctx context.Context, name string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+(&url.URL{Path: name}).EscapedPath(), nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNotServed, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: %s: %w", errNotServed, name, err)
	case resp.StatusCode == http.StatusServiceUnavailable:
		return "", fmt.Errorf("%w: %s", errNotServed, resp.Status)
	case resp.StatusCode != http.StatusOK:
		return "", fmt.Errorf("%s: %s", name, resp.Status)
	}
	return string(body), nil
}

func archiveOf(m *vm.VM) *archive { return &archive{base: m.URL("/" + demo.Debian + "/")} }

// wholeArchive fails the test unless the machine serves the archive, and whole.
func wholeArchive(t *testing.T, m *vm.VM) {
	t.Helper()
	m.GetStatus("/"+demo.Debian+"/dists/demo/InRelease", http.StatusOK)
	if err := archiveOf(m).follow(t.Context()); err != nil {
		t.Errorf("the archive is not whole: %v", err)
	}
}

// watchArchive follows the archive's index over and over, until the function that
// it returns is called.
func watchArchive(t *testing.T, m *vm.VM) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	whole, moved := 0, 0
	go func() {
		defer close(done)
		a := archiveOf(m)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for ; ctx.Err() == nil; <-tick.C {
			switch err := a.follow(ctx); {
			case err == nil:
				whole++
			case errors.Is(err, errMoved):
				moved++
			case !errors.Is(err, errNotServed):
				t.Errorf("the archive is not whole while the node recovers: %v", err)
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
		t.Logf("the archive was whole %d times while the node recovered, and changed %d times", whole, moved)
	}
}
