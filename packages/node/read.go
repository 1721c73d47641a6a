package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"micromirror/packages/project"
)

// Names of the files in a node's configuration folder.
const (
	NodeFile  = "node.json"
	FleetFile = "fleet.json"
	// SecretFile has the form of the fleet file and is laid over it; mode 0600.
	SecretFile = "secret.json"
	// RootFile is the root metadata of the update repository that the node trusts.
	RootFile = "root.json"
	// KeyFile is the node's own age identity, to which its secrets are encrypted;
	// mode 0600.
	KeyFile = "age.key"
	// OldSuffix marks the last good copy of fleet or node file.
	OldSuffix = ".old"
)

// ReadDesk reads the files and refuses anything wrong; the secret file may be
// missing. The error is Problems.
func ReadDesk(fleetFile, nodeFile, secretFile string) (*Config, error) {
	c, problems, _ := read(fleetFile, nodeFile, secretFile, func(string) string { return "" })
	if len(problems) > 0 {
		return nil, Problems(problems)
	}
	return c, nil
}

// ReadNode reads the files in dir as a node does. The Config is never nil; the
// error is set only when neither file gave anything at all.
func ReadNode(dir string) (*Config, []Problem, error) {
	old := func(file string) string { return file + OldSuffix }
	return read(filepath.Join(dir, FleetFile), filepath.Join(dir, NodeFile), filepath.Join(dir, SecretFile), old)
}

func read(fleetFile, nodeFile, secretFile string, fallback func(string) string) (*Config, []Problem, error) {
	fleet := newDecoder(fleetFile)
	f := Fleet{Projects: project.Catalogue()}
	secret := newDecoder(secretFile)
	haveFleet := fleet.load(fallback(fleetFile), &f)
	if haveFleet {
		secret.overlay(&f)
		f = fleet.fleetFrom(f)
		secret.claim(fleet.problems)
	}
	node := newDecoder(nodeFile)
	var r rawNode
	c := &Config{Fleet: f}
	haveNode := node.load(fallback(nodeFile), &r)
	if haveNode {
		c.Node = node.nodeFrom(r, f.Projects)
	}
	if haveNode && haveFleet {
		node.wholeName(c)
	}
	problems := slices.Concat(fleet.problems, secret.problems, node.problems)
	if !haveFleet && !haveNode {
		return c, problems, fmt.Errorf("read configuration: %w", Problems(problems))
	}
	return c, problems, nil
}

// wholeName checks what only both files together can break.
func (d *decoder) wholeName(c *Config) {
	if name := c.Hostname(); len(name) > 253 {
		d.bad("name", show(c.Node.Name), "makes the full name longer than 253 characters", "shorten it")
	}
}

// load fills dst from the decoder's file, or from its fallback when the file
// cannot be used at all.
func (d *decoder) load(fallback string, dst any) bool {
	for _, file := range []string{d.file, fallback} {
		if file == "" {
			continue
		}
		v, line, err := parseFile(file)
		if err == nil {
			d.file = file
			return d.assign("", v, reflect.ValueOf(dst).Elem())
		}
		if file == fallback && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		d.problems = append(d.problems, Problem{File: file, Line: line, Reason: err.Error(), Remedy: remedyFor(err)})
	}
	return false
}

// overlay lays the secret file over what the fleet file said. One that is not
// there holds nothing, and a daemon that may not read it does without.
func (d *decoder) overlay(f *Fleet) {
	v, line, err := parseFile(d.file)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
	case err != nil:
		d.problems = append(d.problems, Problem{File: d.file, Line: line, Reason: err.Error(), Remedy: "correct it; it has the form of the fleet file"})
	default:
		d.assign("", v, reflect.ValueOf(f).Elem())
	}
}

// claim makes problems about what the secret file says its own, without the
// values: they end up in logs.
func (d *decoder) claim(problems []Problem) {
	for i, p := range problems {
		if n, ok := d.lines[p.Field]; ok && p.Field != "" {
			problems[i].File, problems[i].Line, problems[i].Value = d.file, n, ""
		}
	}
	for i := range d.problems {
		d.problems[i].Value = ""
	}
}

func remedyFor(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "create it; packages/node/reference shows one"
	case errors.Is(err, fs.ErrPermission):
		return "make it readable"
	default:
		return "correct it; packages/node/reference shows one"
	}
}

func parseFile(file string) (value, int, error) {
	f, err := os.Open(file)
	if err != nil {
		return value{}, 0, plain(err)
	}
	defer f.Close()
	data, err := readAll(f)
	if err != nil {
		return value{}, 0, plain(err)
	}
	return parse(data)
}

// readAll reads one byte more than a file may have, so that parse can tell.
func readAll(f *os.File) ([]byte, error) {
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// plain drops the path from an error: the problem names the file itself.
func plain(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("cannot be read: %w", p.Err)
	}
	return err
}
