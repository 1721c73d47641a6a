package vm

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Files of the EFI system partition are read and changed with mtools, without
// mounting. Paths are relative to its root: "loader/entries/slot-a+5.conf".

// ESPList lists the names in a directory, directories with a slash at the end.
func (d Disk) ESPList(dir string) ([]string, error) {
	out, err := d.mtool("", "mdir", "-b", "-a", "::"+dir)
	if err != nil {
		return nil, err
	}
	prefix := "::/"
	if dir = strings.Trim(dir, "/"); dir != "" {
		prefix += dir + "/"
	}
	var names []string
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), prefix); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// ESPRead returns a file's content.
func (d Disk) ESPRead(path string) ([]byte, error) {
	out, err := d.mtool("", "mtype", "::"+path)
	return []byte(out), err
}

// ESPWrite writes a file, replacing one that is there.
func (d Disk) ESPWrite(path string, content []byte) error {
	_, err := d.mtool(string(content), "mcopy", "-o", "-", "::"+path)
	return err
}

// ESPRemove deletes a file.
func (d Disk) ESPRemove(path string) error {
	_, err := d.mtool("", "mdel", "::"+path)
	return err
}

// ESPRename renames a file; to is a path as well.
func (d Disk) ESPRename(from, to string) error {
	_, err := d.mtool("", "mmove", "::"+from, "::"+to)
	return err
}

// ESPTruncate cuts a file to its first n bytes.
func (d Disk) ESPTruncate(path string, n int) error {
	return d.espEdit(path, func(b []byte) []byte { return b[:min(n, len(b))] })
}

// ESPScramble overwrites a file with noise of the same length.
func (d Disk) ESPScramble(path string) error {
	return d.espEdit(path, func(b []byte) []byte {
		for i := range b {
			b[i] = byte(i*7 + i>>8)
		}
		return b
	})
}

func (d Disk) espEdit(path string, edit func([]byte) []byte) error {
	b, err := d.ESPRead(path)
	if err != nil {
		return err
	}
	return d.ESPWrite(path, edit(b))
}

func (d Disk) mtool(stdin, tool string, args ...string) (string, error) {
	e, err := d.Extent(ESP)
	if err != nil {
		return "", err
	}
	image := fmt.Sprintf("%s@@%d", d.Path, e.Offset)
	return run(stdin, tool, append([]string{"-i", image}, args...)...)
}

// run runs a tool and returns its standard output; a failure carries what it said.
func run(stdin, tool string, args ...string) (string, error) {
	cmd := exec.Command(tool, args...)
	cmd.Env = append(os.Environ(), "MTOOLS_SKIP_CHECK=1", "LC_ALL=C.UTF-8")
	cmd.Stdin = strings.NewReader(stdin)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s%s", tool, strings.Join(args, " "), err, bytes.TrimSpace(said.Bytes()), tailOf(out.Bytes()))
	}
	return out.String(), nil
}

func tailOf(b []byte) []byte { return b[max(0, len(b)-2000):] }
