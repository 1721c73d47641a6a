package client

import (
	"path"
	"strings"
)

// Candidate is a file that may serve as basis for another one.
type Candidate struct {
	Name    string // last element of its path
	Size    int64
	ModTime int64
}

// Fuzzy picks the candidate that promises the best delta for a file that is
// not there under its own name, or -1 if none does: a file of the same size and
// time, which was renamed, before one whose name differs least, such as an
// earlier version of a package. Candidates are usually the files that lie in
// the same directory; empty ones never serve.
func Fuzzy(name string, size, modTime int64, candidates []Candidate) int {
	base := path.Base(name)
	best, distance := -1, maxDistance(base)+1
	for i, c := range candidates {
		if c.Size == 0 || c.Name == base {
			continue
		}
		if c.Size == size && c.ModTime == modTime {
			return i
		}
		if suffix(base) != suffix(c.Name) {
			continue
		}
		if d := editDistance(base, c.Name, distance-1); d < distance {
			best, distance = i, d
		}
	}
	return best
}

// maxDistance is how many edits two names may be apart to count as versions of
// one file: a quarter of the name, for that much is its version.
func maxDistance(name string) int { return max(len(name)/4, 2) }

// suffix is what says of which kind a file is; files of different kinds have
// nothing in common.
func suffix(name string) string {
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		return name[i:]
	}
	return ""
}

// editDistance is the number of bytes to be inserted, deleted or replaced to
// get from a to b, or limit+1 if it is more than limit.
func editDistance(a, b string, limit int) int {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > limit {
		return limit + 1
	}
	row := make([]int, len(a)+1)
	for i := range row {
		row[i] = i
	}
	for j := range len(b) {
		diagonal, least := row[0], j+1
		row[0] = j + 1
		for i := range len(a) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[i+1]+1, row[i]+1, diagonal+cost)
			diagonal, row[i+1] = row[i+1], next
			least = min(least, next)
		}
		if least > limit {
			return limit + 1
		}
	}
	return min(row[len(a)], limit+1)
}
