package socket

// glob is a pattern as Redis has them for keys: * for any run of bytes, ? for one, [ab], [a-z] and [^a-z] for one of a set, and \ before a
// byte that stands for itself. Matching takes time in proportion to the length of the name times that of the pattern, at most.
type glob []globStep

// globStep matches one byte out of a set, or any run of bytes.
type globStep struct {
	run bool
	set [4]uint64 // the bytes, as bits
}

func (s *globStep) add(from, to byte) {
	for c := int(min(from, to)); c <= int(max(from, to)); c++ {
		s.set[c>>6] |= 1 << (c & 63)
	}
}

func (s *globStep) has(c byte) bool { return s.set[c>>6]>>(c&63)&1 == 1 }

// parseGlob reads a pattern. All texts are patterns, as for Redis: what is not closed goes to the end. literal is what comes
// before the first character with a meaning: the beginning of all names that match, and the one name if whole.
func parseGlob(pattern string) (g glob, literal string, whole bool) {
	var begin []byte
	whole = true
	for i := 0; i < len(pattern); i++ {
		var step globStep
		switch c := pattern[i]; {
		case c == '*':
			step.run = true
			whole = false
		case c == '?':
			step.add(0, 255)
			whole = false
		case c == '[':
			i = step.class(pattern, i+1)
			whole = false
		default:
			if c == '\\' && i+1 < len(pattern) {
				i++
				c = pattern[i]
			}
			step.add(c, c)
			if whole {
				begin = append(begin, c)
			}
		}
		if step.run && len(g) > 0 && g[len(g)-1].run {
			continue // ** is *
		}
		g = append(g, step)
	}
	return g, string(begin), whole
}

// class reads a set from behind its [, and returns the place of its ].
func (s *globStep) class(pattern string, i int) int {
	negated := i < len(pattern) && pattern[i] == '^'
	if negated {
		i++
	}
	for ; i < len(pattern) && pattern[i] != ']'; i++ {
		switch {
		case pattern[i] == '\\' && i+1 < len(pattern):
			i++
			s.add(pattern[i], pattern[i])
		case i+2 < len(pattern) && pattern[i+1] == '-':
			s.add(pattern[i], pattern[i+2])
			i += 2
		default:
			s.add(pattern[i], pattern[i])
		}
	}
	if negated {
		for n := range s.set {
			s.set[n] = ^s.set[n]
		}
	}
	return i
}

// match reports whether the whole name is of the pattern. On a mismatch only the last run is made longer: what an
// earlier one could take, this one can.
func (g glob) match(name string) bool {
	step, at := 0, 0
	lastRun, runEnd := -1, 0
	for at < len(name) {
		switch {
		case step < len(g) && g[step].run:
			lastRun, runEnd = step, at
			step++
		case step < len(g) && g[step].has(name[at]):
			step++
			at++
		case lastRun >= 0:
			runEnd++
			step, at = lastRun+1, runEnd
		default:
			return false
		}
	}
	for step < len(g) && g[step].run {
		step++
	}
	return step == len(g)
}
