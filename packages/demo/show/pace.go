package show

import "time"

// pace measures how fast something goes. The rate since the start of a phase,
// which the node tells, is of little use for what remains: it begins with small
// files and slow start-up.
type pace struct {
	phase   string
	total   int64
	samples []sample
}

type sample struct {
	at   time.Time
	done int64
}

const (
	paceWindow = 15 * time.Second // that the rate is taken over
	paceFirst  = 4 * time.Second  // before which there is none
)

// add notes how much of total is done in a phase. Another phase begins anew.
func (p *pace) add(now time.Time, phase string, done, total int64) {
	if phase != p.phase || total != p.total || len(p.samples) > 0 && done < p.samples[len(p.samples)-1].done {
		*p = pace{phase: phase, total: total}
	}
	p.samples = append(p.samples, sample{now, done})
	for len(p.samples) > 2 && now.Sub(p.samples[1].at) >= paceWindow {
		p.samples = p.samples[1:]
	}
}

// rate is in units a second; 0 means that it is not known yet or that nothing
// moved lately.
func (p *pace) rate() float64 {
	if len(p.samples) == 0 {
		return 0
	}
	first, last := p.samples[0], p.samples[len(p.samples)-1]
	span := last.at.Sub(first.at)
	if span < paceFirst {
		return 0
	}
	return float64(last.done-first.done) / span.Seconds()
}

// left is how long the rest takes at that rate; 0 means that nobody knows.
func (p *pace) left() time.Duration {
	rate := p.rate()
	if rate <= 0 {
		return 0
	}
	rest := float64(p.total - p.samples[len(p.samples)-1].done)
	const unbelievable = 48 * time.Hour
	left := rest / rate * float64(time.Second)
	if left > float64(unbelievable) {
		return 0
	}
	return time.Duration(left).Round(time.Second)
}
