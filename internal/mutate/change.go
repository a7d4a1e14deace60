package mutate

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// change is a mutant in its place.
type change struct {
	Mutant
	number   int
	path     string // of the file
	source   string
	from, to int    // what differs in it
	text     string // what comes there
	alone    bool   // it cannot be switched on
	err      error  // it cannot be tried
}

func newChange(dir string, number int, m Mutant) *change {
	c := &change{Mutant: m, number: number, path: filepath.Join(dir, m.File)}
	source, err := os.ReadFile(c.path)
	if err != nil {
		c.err = err
		return c
	}
	c.source = string(source)
	if n := strings.Count(c.source, m.Old); n != 1 {
		c.err = fmt.Errorf("the text of this mutant stands %d times in %s, it must be once; give the mutant its new text:\n%s", n, m.File, m.Old)
		return c
	}
	before := common(m.Old, m.New, func(s string, i int) byte { return s[i] })
	after := common(m.Old[before:], m.New[before:], func(s string, i int) byte { return s[len(s)-1-i] })
	c.from = strings.Index(c.source, m.Old) + before
	c.to = c.from + len(m.Old) - before - after
	c.text = m.New[before : len(m.New)-after]
	return c
}

// common counts how many bytes two texts have in common, by the order in which at finds them.
func common(a, b string, at func(string, int) byte) (n int) {
	for n < min(len(a), len(b)) && at(a, n) == at(b, n) {
		n++
	}
	return n
}

// usable says whether the mutant can be switched on, as far as is known.
func (c *change) usable() bool { return c.err == nil && !c.alone }

// apply is the file as the mutant has it.
func (c *change) apply() string { return c.source[:c.from] + c.text + c.source[c.to:] }

// mark begins the name of the file in what a compiler says of the mutant.
func (c *change) mark() string { return fmt.Sprintf("mutant%d/", c.number) }

// linesOf are the lines of a compiler's output about the mutant.
func (c *change) linesOf(output string) string {
	var b strings.Builder
	for line := range strings.Lines(output) {
		if strings.Contains(line, c.mark()) {
			b.WriteString(line)
		}
	}
	return b.String()
}
