package hostdeps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// madeUp is a computer in a folder, with one program and a package manager that
// puts the programs of the packages it knows in place.
func madeUp(t *testing.T, release string, repository map[string]string) (*host, *[]string) {
	t.Helper()
	root := t.TempDir()
	put := func(name, content string) error {
		path := filepath.Join(root, name)
		return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o755))
	}
	if err := errors.Join(put("etc/os-release", release), put("usr/bin/rsync", "")); err != nil {
		t.Fatal(err)
	}
	var ran []string
	fresh := false
	h := &host{root: root, path: []string{"/usr/bin"}, lookSudo: func() bool { return true }}
	h.run = func(_ context.Context, _ io.Writer, argv []string) error {
		ran = append(ran, strings.Join(argv, " "))
		if argv[len(argv)-1] == "update" {
			fresh = true
			return nil
		}
		for pkg, program := range repository {
			if strings.Contains(strings.Join(argv, " "), " "+pkg) {
				return put("usr/bin/"+program, "")
			}
		}
		return fmt.Errorf("no such package (fresh lists: %v)", fresh)
	}
	return h, &ran
}

func TestEnsure(t *testing.T) {
	const debian, fedora = "NAME=x\nID=debian\n", "ID=fedora\nID_LIKE=\"rhel centos\"\n"
	const apt = "env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends"
	rsync, tree := Tool{"rsync", []string{"rsync"}}, Tool{"tree", []string{"tree", "/usr/bin/tree"}}
	for _, c := range []struct {
		name, release string
		uid           int
		noSudo        bool
		repository    map[string]string
		want          []string // commands
		err           string   // part of the error
	}{
		{name: "root", release: debian, repository: map[string]string{"tree": "tree"}, want: []string{apt + " tree"}},
		{name: "user", release: debian, uid: 1000, repository: map[string]string{"tree": "tree"}, want: []string{"sudo " + apt + " tree"}},
		{name: "descendant", release: "ID=x\nID_LIKE='ubuntu debian'", repository: map[string]string{"tree": "tree"}, want: []string{apt + " tree"}},
		{name: "no sudo", release: debian, uid: 1000, noSudo: true, err: "apt-get install tree"},
		{name: "elsewhere", release: fedora, err: "try again: tree"},
		{name: "unknown package", release: debian, want: []string{apt + " tree", "apt-get update", apt + " tree"}, err: "try again: tree"},
		{name: "wrong package", release: debian, repository: map[string]string{"tree": "other"}, want: []string{apt + " tree"}, err: "still missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, ran := madeUp(t, c.release, c.repository)
			h.uid, h.lookSudo = c.uid, func() bool { return !c.noSudo }
			var out bytes.Buffer
			err := h.ensure(t.Context(), []Tool{rsync, tree, tree}, &out)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error = %v, want one with %q", err, c.err)
			}
			if diff := cmp.Diff(c.want, *ran); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
			for _, line := range *ran {
				if !strings.Contains(out.String(), "$ "+line+"\n") {
					t.Errorf("%q ran without being shown", line)
				}
			}
			if err := h.ensure(t.Context(), []Tool{rsync}, &out); err != nil {
				t.Errorf("nothing missing: %v", err)
			}
		})
	}
}

func TestListsNameEachPackageOnceAndProvideSomething(t *testing.T) {
	for name, tools := range map[string][]Tool{"build": Build(), "run": Run(), "check": Check(), "test": Test(), "bench": Bench()} {
		seen := map[string]bool{}
		for _, tool := range tools {
			if seen[tool.Package] || len(tool.Provides) == 0 {
				t.Errorf("%s: %+v is double or provides nothing", name, tool)
			}
			seen[tool.Package] = true
		}
	}
}

func FuzzDebianRelease(f *testing.F) {
	f.Add("ID=debian")
	f.Add("ID_LIKE=\"ubuntu debian\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		if debianRelease(strings.NewReader(text)) && !strings.Contains(text, "debian") {
			t.Errorf("%q is said to be Debian", text)
		}
	})
}
