package hostdeps

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"micromirror/packages/deb"
)

// Unpacked fetches a package of this computer's own release and unpacks it below
// dir, without installing it: for programs that would replace a service of this
// computer, as one time server does with another. It returns the folder that
// stands for the root; what the package depends on must be there otherwise.
// Another call finds what the first one left and needs no network.
func Unpacked(ctx context.Context, dir, name string) (string, error) {
	suite, err := codename("/etc/os-release")
	if err != nil {
		return "", fmt.Errorf("fetch %s: %w", name, err)
	}
	packages, err := deb.Fetch(ctx, deb.Options{Dir: dir, Want: []deb.Want{{Suite: suite, Name: name}}})
	if err != nil {
		return "", err
	}
	root := filepath.Join(dir, "unpacked", name)
	return root, packages[0].Unpack(ctx, root)
}

// codename reads the release's name from os-release(5).
func codename(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return readCodename(f)
}

func readCodename(r io.Reader) (string, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		key, value, _ := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		if value = strings.Trim(value, `"'`); key == "VERSION_CODENAME" && value != "" {
			return value, nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	return "", errors.New("os-release names no VERSION_CODENAME, so this is no release of Debian")
}
