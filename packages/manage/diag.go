package manage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"micromirror/packages/layout"
)

// Bounds of a bundle.
const (
	maxEntry = 4 << 20 // of a file whose size the kernel does not tell
	maxFile  = 16 << 20
)

// bundled is what a bundle holds. Nothing of it is a secret: the daemon could not
// read one. The log holds the crash records, too.
func bundled() []string {
	return []string{
		layout.VersionFile, layout.HealthFile,
		layout.RunDir + "/netd/*", layout.RunDir + "/updated/*.json", layout.RunDir + "/ntpd/*.json",
		layout.RunDir + "/syncd/*.json", layout.ManageDir + "/*",
		layout.NodeDir + "/node.json",
		layout.StateDir + "/syncd/*.json", layout.StateDir + "/updated/*.json",
		ringPattern,
		"/proc/cmdline", "/proc/version", "/proc/uptime", "/proc/loadavg", "/proc/meminfo", "/proc/mounts", "/proc/modules",
		"/proc/interrupts", "/proc/diskstats", "/proc/pressure/*",
		"/proc/net/dev", "/proc/net/route", "/proc/net/ipv6_route", "/proc/net/if_inet6", "/proc/net/sockstat",
		"/proc/net/sockstat6", "/proc/net/snmp", "/proc/net/netstat", "/proc/net/bonding/*",
	}
}

// diag answers a gzipped tar of what is known of the node.
func (b Box) diag(ctx context.Context, args []string, w io.Writer) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no words", CommandDiag)
	}
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	var missing strings.Builder
	for _, pattern := range bundled() {
		files, err := filepath.Glob(b.Root + pattern)
		if err != nil {
			return err
		}
		if len(files) == 0 {
			fmt.Fprintf(&missing, "%s: nothing there\n", pattern)
		}
		for _, file := range files {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := b.bundle(t, file, &missing); err != nil {
				return err
			}
		}
	}
	if err := b.entry(t, "missing.txt", int64(missing.Len()), strings.NewReader(missing.String())); err != nil {
		return err
	}
	if err := t.Close(); err != nil {
		return err
	}
	return z.Close()
}

// bundle adds one file; one that cannot be read is noted. The error is of the
// connection only.
func (b Box) bundle(t *tar.Writer, path string, missing io.Writer) error {
	name := strings.TrimPrefix(path, b.Root)
	note := func(err error) error { _, err = fmt.Fprintf(missing, "%s: %v\n", name, err); return err }
	f, err := os.Open(path)
	if err != nil {
		return note(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return note(fmt.Errorf("no regular file (%w)", err))
	}
	if size := info.Size(); size > 0 && size <= maxFile {
		return b.entry(t, name, size, io.MultiReader(f, zeros{}))
	}
	data, err := io.ReadAll(io.LimitReader(f, maxEntry))
	if err != nil {
		return note(err)
	}
	return b.entry(t, name, int64(len(data)), bytes.NewReader(data))
}

// entry writes size bytes of r: a log grows meanwhile, and a file that has become
// shorter ends in zeros.
func (b Box) entry(t *tar.Writer, name string, size int64, r io.Reader) error {
	h := tar.Header{Name: "diag/" + strings.TrimPrefix(name, "/"), Mode: 0o644, Size: size, ModTime: b.Now().Truncate(time.Second)}
	if err := t.WriteHeader(&h); err != nil {
		return err
	}
	_, err := io.CopyN(t, r, size)
	return err
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
