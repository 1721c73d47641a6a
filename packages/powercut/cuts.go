package powercut

import "math/rand/v2"

// variants is how many random cuts there are at each point, half of them torn.
const variants = 4

// listCuts lists all cuts of a recording, in the order of time.
func listCuts(entries []entry) []Cut {
	var out []Cut
	volatile := 0
	for n, e := range entries {
		if e.Flags&flagFlush != 0 {
			volatile = 0
		}
		if !e.writes() {
			continue
		}
		volatile++
		for k := range variants + 1 {
			c := Cut{Before: n + 1, Kind: Prefix, Seed: uint64(k)}
			if k > 0 {
				c.Kind = []Kind{Torn, Subset}[k%2]
			}
			// Of one write, a subset is all or nothing: the cuts here and before.
			if c.Kind != Subset || volatile > 1 {
				out = append(out, c)
			}
		}
	}
	return out
}

// player puts a recorded disk into the state after each of several cuts.
type player struct {
	m        *image
	entries  []entry
	next     int
	volatile []int // entries since the last flush that change the disk
}

func newPlayer(d *recorded, watched []extent) *player {
	return &player{m: newImage(d, watched), entries: d.entries}
}

// at puts the disk into the state of a cut, which must not be earlier than the
// one before.
func (p *player) at(c Cut) *image {
	for ; p.next < c.Before; p.next++ {
		p.step(p.next, p.entries[p.next])
	}
	p.show(c)
	return p.m
}

// step takes entry n into account.
func (p *player) step(n int, e entry) {
	if e.Flags&flagFlush != 0 { // it comes before the data of its own request
		p.m.rollback()
		for _, i := range p.volatile {
			p.m.apply(p.entries[i], nil)
		}
		p.m.mark()
		p.volatile = p.volatile[:0]
	}
	if e.writes() {
		p.volatile = append(p.volatile, n)
	}
}

// show puts the disk into the state of a cut after the last step.
func (p *player) show(c Cut) {
	p.m.rollback()
	random := rand.New(rand.NewPCG(uint64(c.Before), c.Seed))
	chance := []float64{0.1, 0.5, 0.9}[random.IntN(3)]
	for _, i := range p.volatile {
		e := p.entries[i]
		if c.Kind == Prefix || e.Flags&flagFUA != 0 {
			p.m.apply(e, nil)
			continue
		}
		if random.Float64() >= chance {
			continue
		}
		if c.Kind == Torn && random.IntN(2) == 0 {
			p.m.apply(e, func() bool { return random.IntN(2) == 0 })
		} else {
			p.m.apply(e, nil)
		}
	}
}
