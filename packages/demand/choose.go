package demand

import (
	"cmp"
	"slices"
)

// maxSteps bounds the search; real demand needs a few thousand.
const maxSteps = 5_000_000

// search looks at projects in the order of their efficiency. What a branch can
// still reach is bounded by filling the rest of the room with the next projects,
// the last one in part.
type search struct {
	projects []Project
	excludes func(a, b string) bool
	steps    int
	taken    []bool
	best     []bool
	daily    int64
}

// Choose returns the set of projects that serves most in the given room. Those in
// keep are always in it, if they fit; excludes says which two cannot be on one
// node.
func Choose(projects []Project, room int64, keep []string, excludes func(a, b string) bool) Plan {
	s := search{excludes: excludes, projects: slices.Clone(projects)}
	slices.SortStableFunc(s.projects, func(a, b Project) int {
		return cmp.Or(cmp.Compare(b.Efficiency(), a.Efficiency()), cmp.Compare(a.Size, b.Size), cmp.Compare(a.Name, b.Name))
	})
	s.taken, s.best, s.daily = make([]bool, len(projects)), make([]bool, len(projects)), -1
	left, daily := room, int64(0)
	for i, p := range s.projects {
		if slices.Contains(keep, p.Name) && p.Size <= left && s.fits(i) {
			s.taken[i] = true
			left, daily = left-p.Size, daily+p.Daily
		}
	}
	s.from(0, left, daily)
	return s.plan(room)
}

func (s *search) from(i int, left, daily int64) {
	if daily > s.daily {
		s.daily = daily
		copy(s.best, s.taken)
	}
	if s.steps++; i == len(s.projects) || s.steps > maxSteps || s.bound(i, left, daily) <= float64(s.daily) {
		return
	}
	p := s.projects[i]
	if !s.taken[i] && p.Size > 0 && p.Daily > 0 && p.Size <= left && s.fits(i) {
		s.taken[i] = true
		s.from(i+1, left-p.Size, daily+p.Daily)
		s.taken[i] = false
	}
	s.from(i+1, left, daily)
}

// fits says whether nothing that is taken excludes project i.
func (s *search) fits(i int) bool {
	for j, taken := range s.taken {
		if taken && j != i && s.excludes(s.projects[i].Name, s.projects[j].Name) {
			return false
		}
	}
	return true
}

// bound is the most that the projects from i on could add.
func (s *search) bound(i int, left, daily int64) float64 {
	most := float64(daily)
	for ; i < len(s.projects) && left > 0; i++ {
		p := s.projects[i]
		if s.taken[i] || p.Size <= 0 {
			continue
		}
		part := min(p.Size, left)
		most += float64(part) * p.Efficiency()
		left -= part
	}
	return most
}

func (s *search) plan(room int64) Plan {
	p := Plan{Room: room, Exact: s.steps <= maxSteps, Chosen: []Project{}, LeftOut: []Project{}}
	for i, pr := range s.projects {
		if !s.best[i] {
			p.LeftOut = append(p.LeftOut, pr)
			continue
		}
		p.Chosen = append(p.Chosen, pr)
		p.Used += pr.Size
		p.Daily += pr.Daily
	}
	return p
}
