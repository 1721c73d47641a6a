package desk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"micromirror/packages/flash"
	"micromirror/packages/health"
	"micromirror/packages/perm"
	"micromirror/packages/release"
	"micromirror/packages/verity"
)

// office is a desk with a fleet, a clock and nodes that answer.
type office struct {
	t      *testing.T
	fleet  string
	clock  time.Time
	env    map[string]string
	typed  []string // what the maintainer types next
	nodes  map[string]*fakeNode
	stderr bytes.Buffer

	channel string // where the nodes' channel answers
}

// newOffice has three nodes and an empty repository.
func newOffice(t *testing.T) *office {
	t.Helper()
	o := emptyOffice(t)
	write(t, filepath.Join(o.fleet, "fleet.json"), `{"domain": "mirror.example", "contact": "noc@mirror.example", "upstream": "mirror.example", "update": {"urls": ["http://u.example/"]}}`)
	for _, name := range []string{"one", "two", "three"} {
		o.node(name, "qemu")
		o.nodes[name] = newFakeNode(o)
	}
	o.ok("keys", "init")
	return o
}

func emptyOffice(t *testing.T) *office {
	return &office{t: t, fleet: t.TempDir(), clock: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), env: map[string]string{}, nodes: map[string]*fakeNode{}}
}

// copied is an office with the same fleet and repository, and nodes of its own.
func (o *office) copied(t *testing.T) *office {
	t.Helper()
	c := emptyOffice(t)
	if err := os.CopyFS(c.fleet, os.DirFS(o.fleet)); err != nil {
		t.Fatal(err)
	}
	c.clock = o.clock
	for name := range o.nodes {
		c.nodes[name] = newFakeNode(c)
	}
	return c
}

func (o *office) node(name, hardware string) {
	write(o.t, filepath.Join(o.fleet, "nodes", name+".json"), `{"name": "`+name+`", "hardware": "`+hardware+
		`", "sponsor": {"name": "S", "url": "https://s.example/"}, "addresses": ["dhcp"], "projects": ["gimp"]}`)
}

func (o *office) desk() *desk {
	return &desk{
		now:      func() time.Time { return o.clock },
		client:   http.DefaultClient,
		work:     2,
		machine:  flash.Machine{Sys: "/sys", Proc: "/proc"},
		getenv:   func(name string) string { return o.env[name] },
		terminal: o.read,
		dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, o.channel)
		},
		line: func(prompt string) (string, error) {
			if len(o.typed) == 0 {
				return "", errNoTerminal
			}
			return o.read(prompt)
		},
		build: func(_ context.Context, source string, _ io.Writer) (string, error) {
			return testRelease(o.t, source, o.clock), nil
		},
	}
}

// read is what the maintainer types.
func (o *office) read(string) (string, error) {
	if len(o.typed) == 0 {
		return "", errors.New("no terminal")
	}
	next := o.typed[0]
	o.typed = o.typed[1:]
	return next, nil
}

// run runs a command on the fleet.
func (o *office) run(args ...string) (stdout string, err error) {
	o.t.Helper()
	o.stderr.Reset()
	var out bytes.Buffer
	c := o.desk().command()
	args = append(args, "--fleet", o.fleet)
	if asks := args[0] == "rollout" && (args[1] == "next" || args[1] == "status"); asks || args[0] == "status" || args[0] == "watch" {
		for name, n := range o.nodes {
			args = append(args, "--address", name+"="+strings.TrimPrefix(n.URL, "http://"))
		}
	}
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(&o.stderr)
	err = c.ExecuteContext(o.t.Context())
	return out.String(), err
}

func (o *office) ok(args ...string) string {
	o.t.Helper()
	out, err := o.run(args...)
	if err != nil {
		o.t.Fatalf("mirrorctl %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// refused runs a command that must fail and name the words.
func (o *office) refused(words []string, args ...string) {
	o.t.Helper()
	_, err := o.run(args...)
	if err == nil {
		o.t.Errorf("mirrorctl %s: no error, want %q", strings.Join(args, " "), words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			o.t.Errorf("mirrorctl %s: error %v, want %q in it", strings.Join(args, " "), err, w)
		}
	}
}

// as decodes what a command printed with --json.
func as[T any](o *office, args ...string) T {
	o.t.Helper()
	var v T
	out := o.ok(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		o.t.Fatalf("%v in %s", err, out)
	}
	return v
}

// release publishes a release that was built so many days from now.
func (o *office) release(version string, days int) {
	o.t.Helper()
	o.ok("release", "--release", testRelease(o.t, version, o.clock.AddDate(0, 0, days)))
}

// testRelease is a small release.
func testRelease(t *testing.T, version string, built time.Time) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{release.KernelFile, release.InitrdFile, release.RootFile, release.LoaderFile, release.PermFile} {
		write(t, filepath.Join(dir, name), strings.Repeat(name+version, 1000))
	}
	tree, err := verity.Append(filepath.Join(dir, release.RootFile))
	if err != nil {
		t.Fatal(err)
	}
	describe(t, dir, release.Release{Version: version, Built: built, Loader: release.Loader{Version: "262"},
		Hardware: []string{"qemu"}, Root: release.Root{Verity: tree}, Options: "ro", Rescue: true})
	return dir
}

func describe(t *testing.T, dir string, r release.Release) {
	t.Helper()
	if err := release.Write(dir, r); err != nil {
		t.Fatal(err)
	}
}

// bootable makes a test release one that can be written to a disk.
func bootable(t *testing.T, dir string) string {
	t.Helper()
	r, err := release.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := perm.Template(t.Context(), filepath.Join(dir, release.PermFile)); err != nil {
		t.Fatal(err)
	}
	describe(t, dir, *r)
	return dir
}

// fakeNode is a node as far as its health can be asked for: real checks, real
// reports, on the office's clock.
type fakeNode struct {
	*httptest.Server
	o       *office
	set     *health.Set
	version string
	ill     error // of a check of its own
	offline error // of the world outside
	stale   error // of a project
	answer  func(w http.ResponseWriter)
	status  string // its /status.json
}

func newFakeNode(o *office) *fakeNode {
	n := &fakeNode{o: o}
	n.Server = httptest.NewServer(n)
	o.t.Cleanup(n.Close)
	n.boot("old")
	return n
}

// boot starts the node with a release: its checks begin anew.
func (n *fakeNode) boot(version string) {
	n.o.t.Helper()
	checks := []health.Check{
		{Name: "http", Gate: true, Run: func(context.Context) error { return n.ill }},
		{Name: "link", Gate: true, External: true, Run: func(context.Context) error { return n.offline }},
		{Name: "project debian", External: true, Run: func(context.Context) error { return n.stale }},
	}
	never := func(string) bool { return false }
	set, err := health.New(checks, version, "a", func() time.Time { return n.o.clock }, never)
	if err != nil {
		n.o.t.Fatal(err)
	}
	n.set, n.version = set, version
	n.look(n.o.t.Context())
}

func (n *fakeNode) look(ctx context.Context) health.Report { return n.set.Run(ctx) }

func (n *fakeNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if n.answer != nil {
		n.answer(w)
		return
	}
	if r.URL.Path == "/status.json" {
		io.WriteString(w, n.status)
		return
	}
	report := n.look(r.Context())
	data, err := json.Marshal(report)
	if err != nil || r.URL.Path != "/healthz" {
		http.Error(w, "no", http.StatusNotFound)
		return
	}
	if !report.Healthy {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	w.Write(data)
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	return err == nil
}
