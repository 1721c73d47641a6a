package filter

// glob reports whether the tokens match all of s, to which a slash is added if
// slash is set.
//
// It backtracks only to the last "*" and, when that has met a slash, to the last
// "**": an earlier star never helps, because a later one of the same kind can
// take whatever it would. That is linear for real patterns but cubic for some
// hostile ones, so when it has gone back too often the bounded matcher decides.
func glob(tokens []token, s string, slash bool) bool {
	n := len(s)
	if slash {
		n++
	}
	if !plausible(tokens, s, slash) {
		return false
	}
	fuel := 64 + 4*(len(tokens)+n)
	t, i := 0, 0
	starT, starI := -1, 0
	star2T, star2I := -1, 0
	for {
		if t < len(tokens) {
			switch k := tokens[t].kind; {
			case k == star:
				starT, starI = t, i
				t++
				continue
			case k == star2:
				if t == len(tokens)-1 {
					return true
				}
				star2T, star2I, starT = t, i, -1
				t++
				continue
			case i < n && tokens[t].accepts(charAt(s, i)):
				t, i = t+1, i+1
				continue
			}
		} else if i == n {
			return true
		}
		if fuel--; fuel == 0 {
			return globBounded(tokens, s, slash)
		}
		switch {
		case starT >= 0 && starI < n && charAt(s, starI) != '/':
			starI++
			t, i = starT+1, starI
		case star2T >= 0 && star2I < n:
			star2I++
			t, i, starT = star2T+1, star2I, -1
		default:
			return false
		}
	}
}

// charAt is s[i], or the added slash.
func charAt(s string, i int) byte {
	if i < len(s) {
		return s[i]
	}
	return '/'
}

// plausible rejects most names by the last character alone.
func plausible(tokens []token, s string, slash bool) bool {
	if len(tokens) == 0 {
		return s == "" && !slash
	}
	last := &tokens[len(tokens)-1]
	switch {
	case last.kind == star || last.kind == star2:
		return true
	case slash:
		return last.accepts('/')
	}
	return s != "" && last.accepts(s[len(s)-1])
}

// globBounded does what glob does in time proportional to the product of the
// lengths: it keeps the set of all token positions that the text read so far
// can have reached.
func globBounded(tokens []token, s string, slash bool) bool {
	n := len(s)
	if slash {
		n++
	}
	now := make([]bool, len(tokens)+1)
	next := make([]bool, len(tokens)+1)
	reach(tokens, now, 0)
	for i := range n {
		clear(next)
		c, alive := charAt(s, i), false
		for t := range tokens {
			if !now[t] {
				continue
			}
			switch k := tokens[t].kind; {
			case k == star2, k == star && c != '/':
				reach(tokens, next, t)
				alive = true
			case tokens[t].accepts(c):
				reach(tokens, next, t+1)
				alive = true
			}
		}
		if !alive {
			return false
		}
		now, next = next, now
	}
	return now[len(tokens)]
}

// reach marks a position, and the one after it if a star there may be empty.
func reach(tokens []token, at []bool, t int) {
	at[t] = true
	if t < len(tokens) && (tokens[t].kind == star || tokens[t].kind == star2) {
		at[t+1] = true
	}
}

// Glob reports whether a wildcard pattern matches all of a name, as rsync
// matches one element of a path in an argument.
func Glob(pattern, name string) bool { return glob(tokenize(pattern), name, false) }
