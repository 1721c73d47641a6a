// Package trace writes the file by which a mirror tells when it was last in step
// with upstream, in the format that the project's own checker reads, and reads
// the one by which upstream's tree tells its age.
//
// Promise: only the file named by the project (project.Trace) is written, by
// rename, and for archives of Debian's kind the mark that a run is on (Mark);
// upstream's own trace files are never touched. Times of the directories
// around it stay as upstream has them, so that the next run finds no difference.
// The file is not made durable: the next run writes it again.
package trace

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"micromirror/packages/mirror/tree"
	"micromirror/packages/project"
)

// Run is what a trace tells about.
type Run struct {
	Host           string // the node's full name
	Upstream       string
	Started, Ended time.Time
	Received       int64  // bytes
	Creator        string // program and version
}

// Name returns the trace file of a host, relative to the tree; "" for none.
func Name(p *project.Project, host string) string {
	return strings.ReplaceAll(p.Trace.File, "{host}", host)
}

// unixDate is the output of date -u in the C locale.
const unixDate = "Mon Jan _2 15:04:05 UTC 2006"

// InProgress, with the host's name, is the file in the root of a Debian archive
// that is there while the mirror is working on it.
const InProgress = "Archive-Update-in-Progress-"

// Mark returns the file that tells that a run is on, relative to the tree; "" for
// projects that have none.
func Mark(p *project.Project, host string) string {
	if p.Trace.Format != "debian" {
		return ""
	}
	return InProgress + host
}

// Begin puts the mark into the tree, End takes it away. Without a tree there is
// nothing to mark.
func Begin(p *project.Project, treeDir, stage, host string) error {
	name := Mark(p, host)
	root, err := tree.Open(treeDir)
	if name == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("mark update in progress: %w", err)
	}
	defer root.Close()
	if err := put(root, stage, name, host+"\n"); err != nil {
		return fmt.Errorf("mark update in progress: %w", err)
	}
	return nil
}

// End ends what Begin began; it is no error if nothing did.
func End(p *project.Project, treeDir, host string) error {
	name := Mark(p, host)
	root, err := tree.Open(treeDir)
	if name == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("end the mark of an update: %w", err)
	}
	defer root.Close()
	info, err := root.Stat(".")
	if err != nil {
		return fmt.Errorf("end the mark of an update: %w", err)
	}
	if err := errors.Join(root.Remove(name), root.SetTimes(".", info.Sec, info.Nsec)); err != nil {
		return fmt.Errorf("end the mark of an update: %w", err)
	}
	return nil
}

// rfc5322 is the Date field of Debian's traces, the output of date -u -R.
const rfc5322 = "Mon, 02 Jan 2006 15:04:05 +0000"

// Write puts the run's trace into the tree. stage is a folder of the same file
// system.
func Write(p *project.Project, treeDir, stage string, r Run) error {
	name := Name(p, r.Host)
	if name == "" {
		return nil
	}
	root, err := tree.Open(treeDir)
	if err != nil {
		return fmt.Errorf("write trace: %w", err)
	}
	defer root.Close()
	if err := put(root, stage, name, format(p, root, r)); err != nil {
		return fmt.Errorf("write trace: %w", err)
	}
	return nil
}

// put writes a file in the stage and moves it to its place.
func put(root *tree.Root, stage, name, content string) error {
	if err := os.MkdirAll(stage, 0o700); err != nil {
		return err
	}
	from, err := tree.Open(stage)
	if err != nil {
		return err
	}
	defer from.Close()
	if err := os.WriteFile(filepath.Join(stage, "trace"), []byte(content), 0o644); err != nil {
		return err
	}
	return place(root, from, name)
}

// place moves the trace into the tree and gives the directories above it the
// times back that they had.
func place(root, from *tree.Root, name string) error {
	var dirs []string // outermost first
	for d := path.Dir(name); ; d = path.Dir(d) {
		dirs = append([]string{d}, dirs...)
		if d == "." {
			break
		}
	}
	times := map[string]tree.Info{}
	for _, d := range dirs {
		if info, err := root.Stat(d); err == nil {
			times[d] = info
		} else if err := root.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	err := root.MoveIn(from, "trace", name)
	for d, info := range times {
		if terr := root.SetTimes(d, info.Sec, info.Nsec); err == nil {
			err = terr
		}
	}
	return err
}

func format(p *project.Project, root *tree.Root, r Run) string {
	switch p.Trace.Format {
	case "epoch":
		return strconv.FormatInt(r.Ended.Unix(), 10) + "\n"
	case "debian":
		return debian(root, r)
	default:
		return r.Ended.UTC().Format(unixDate) + "\n"
	}
}

// debian is the format of Debian's mirror checker: the date as everywhere, then
// fields as in a mail.
func debian(root *tree.Root, r Run) string {
	var b strings.Builder
	fmt.Fprintln(&b, r.Ended.UTC().Format(unixDate))
	fmt.Fprintln(&b, "Date:", r.Ended.UTC().Format(rfc5322))
	fmt.Fprintln(&b, "Date-Started:", r.Started.UTC().Format(rfc5322))
	if serial := field(root, "project/trace/master", "Archive serial"); serial != "" {
		fmt.Fprintln(&b, "Archive serial:", serial)
	}
	fmt.Fprintln(&b, "Creator:", r.Creator)
	fmt.Fprintln(&b, "Running on host:", r.Host)
	fmt.Fprintln(&b, "Upstream-mirror:", r.Upstream)
	fmt.Fprintln(&b, "Total bytes received in rsync:", r.Received)
	fmt.Fprintln(&b, "Total time spent in rsync:", int64(math.Ceil(r.Ended.Sub(r.Started).Seconds())))
	return b.String()
}

// maxTrace bounds what is read of a file that tells a time.
const maxTrace = 1 << 20

// field returns a field of a trace file of upstream's.
func field(root *tree.Root, name, key string) string {
	f, err := root.OpenFile(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, maxTrace))
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), key+":"); ok {
			return strings.TrimSpace(text)
		}
	}
	return ""
}
