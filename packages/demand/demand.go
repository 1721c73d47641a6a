// Package demand says which projects a disk should hold: those that together
// serve the most bytes a day of all sets that fit.
//
// It is the reason why small mirrors work: demand is so uneven that a few percent
// of the bytes of all archives serve most of what is asked for. The measure of a
// project is its efficiency, the bytes that it serves a day for each byte that it
// takes on disk.
//
// Promise: what Choose returns fits the room, holds no two projects that exclude
// each other, and is the best such set; only for many projects that are alike in
// every way does it stop early, and says so. ParseCSV refuses a file with any
// mistake and names the line. The package opens no files and no ports.
package demand

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"micromirror/packages/disk"
	"micromirror/packages/project"
)

const (
	journal = 64 << 20
	// inodes is the share of /perm that ext4's tables take: 256 bytes for each
	// 128 KiB.
	inodes = 512
	// free is the percentage that stays free: 2 so that a node does not warn, and
	// 5 for the new files of a run, which lie beside the old ones until it ends.
	free = 7
)

// Room is how many bytes of mirror trees a node's disk of that size has room for.
func Room(size int64) int64 {
	perm := size - (disk.MinSize - disk.PermMin)
	return max(0, (perm-perm/inodes-journal)/100*(100-free))
}

// Project is one project's demand.
type Project struct {
	Name  string `json:"project"`
	Size  int64  `json:"size"`  // bytes on disk
	Daily int64  `json:"daily"` // bytes that a node with it serves a day
}

// Efficiency is the bytes served a day for each byte on disk.
func (p Project) Efficiency() float64 {
	if p.Size <= 0 {
		return 0
	}
	return float64(p.Daily) / float64(p.Size)
}

// Plan is what to hold.
type Plan struct {
	Room    int64     `json:"room"`
	Used    int64     `json:"used"`
	Daily   int64     `json:"daily"`
	Chosen  []Project `json:"chosen"`   // most efficient first
	LeftOut []Project `json:"left_out"` // likewise
	// Exact is false when the search ended before every set was ruled out.
	Exact bool `json:"exact"`
}

// maxProjects bounds a demand file.
const maxProjects = 10000

// ParseCSV reads lines of project, bytes a day and, if the third column is there,
// bytes on disk; numbers may have a binary unit like 1.5T. A first line that names
// the columns is skipped, so are empty lines and those that begin with #.
func ParseCSV(r io.Reader) ([]Project, error) {
	c := csv.NewReader(r)
	c.FieldsPerRecord, c.Comment, c.TrimLeadingSpace = -1, '#', true
	var out []Project
	var problems []error
	for first := true; ; first = false {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			return out, errors.Join(problems...)
		}
		if err != nil {
			return nil, err
		}
		if first && record[0] == "project" {
			continue
		}
		line, _ := c.FieldPos(0)
		p, err := parseRecord(record)
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("line %d: %w", line, err))
		case slices.ContainsFunc(out, func(o Project) bool { return o.Name == p.Name }):
			problems = append(problems, fmt.Errorf("line %d: %q is there twice; add the two up", line, p.Name))
		case len(out) == maxProjects:
			return nil, fmt.Errorf("line %d: more than %d projects", line, maxProjects)
		default:
			out = append(out, p)
		}
	}
}

func parseRecord(record []string) (Project, error) {
	if len(record) != 2 && len(record) != 3 {
		return Project{}, fmt.Errorf("has %d columns; write project,bytes_per_day or project,bytes_per_day,bytes_on_disk", len(record))
	}
	p := Project{Name: strings.TrimSpace(record[0])}
	if p.Name == "" {
		return p, errors.New("project is empty")
	}
	for i, to := range []*int64{&p.Daily, &p.Size} {
		if i+1 >= len(record) {
			break
		}
		n, err := project.ParseSize(strings.TrimSpace(record[i+1]))
		if err != nil {
			return p, fmt.Errorf("column %d: %w", i+2, err)
		}
		*to = int64(n)
	}
	return p, nil
}
