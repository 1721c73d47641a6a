package trace

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"micromirror/packages/mirror/tree"
	"micromirror/packages/project"
)

// Age returns the time that upstream's tree tells of itself, by the project's
// freshness file. The zero time without an error means that the project has
// none.
func Age(f project.Freshness, treeDir string) (time.Time, error) {
	if f.File == "" {
		return time.Time{}, nil
	}
	root, err := tree.Open(treeDir)
	if err != nil {
		return time.Time{}, fmt.Errorf("read freshness: %w", err)
	}
	defer root.Close()
	// Archives call their current release by a link.
	name, err := root.Resolve(f.File)
	if err != nil {
		return time.Time{}, fmt.Errorf("read freshness: %w", err)
	}
	file, err := root.OpenFile(name)
	if err != nil {
		return time.Time{}, fmt.Errorf("read freshness: %w", err)
	}
	defer file.Close()
	var when time.Time
	switch f.Kind {
	case "epoch", "date", "repomd":
		when, err = read(f.Kind, io.LimitReader(file, maxTrace))
	default: // mtime, equal: a copy is as old as the original
		var info tree.Info
		info, err = root.Stat(name)
		when = time.Unix(info.Sec, int64(info.Nsec))
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read freshness %s: %w", f.File, err)
	}
	return when, nil
}

func read(kind string, r io.Reader) (time.Time, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return time.Time{}, err
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	switch kind {
	case "epoch":
		return epoch(line)
	case "date":
		return time.Parse(time.UnixDate, strings.TrimSpace(line))
	default:
		return newest(data)
	}
}

// epoch reads seconds, perhaps with a fraction.
func epoch(text string) (time.Time, error) {
	s, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		return time.Time{}, err
	}
	if !(s > 0 && s < 1<<40) {
		return time.Time{}, fmt.Errorf("%v is not a time", s)
	}
	return time.UnixMicro(int64(s * 1e6)), nil
}

// newest returns the newest <timestamp> of a repomd.xml.
func newest(data []byte) (time.Time, error) {
	var md struct {
		Data []struct {
			Timestamp string `xml:"timestamp"`
		} `xml:"data"`
	}
	if err := xml.Unmarshal(data, &md); err != nil {
		return time.Time{}, err
	}
	var best time.Time
	for _, d := range md.Data {
		if t, err := epoch(d.Timestamp); err == nil && t.After(best) {
			best = t
		}
	}
	if best.IsZero() {
		return best, errors.New("holds no timestamp")
	}
	return best, nil
}
