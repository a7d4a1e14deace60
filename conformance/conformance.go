// Package conformance is the suite that every driver of rpw passes, also those of other people.
//
//	func TestConformance(t *testing.T) {
//		conformance.Run(t, conformance.Harness{
//			Open: func(t testing.TB) conformance.Backend {
//				store := memory.New(memory.Options{})
//				return conformance.Backend{
//					Connect: func() (rpw.Parts, error) { return store.Parts(), nil },
//					Flush:   store.Flush,
//				}
//			},
//			Unit:   time.Millisecond,
//			Bubble: true,
//		})
//	}
//
// Each case has a stable name (Streams/Publish/SameKeyTwiceIsOneEvent), names the promises it protects (see Promises), and prints its
// rule when it fails.
package conformance

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Harness says how to test a driver.
type Harness struct {
	// Open makes a fresh, empty backend for one case. What it opens it closes by t.Cleanup.
	Open func(t testing.TB) Backend
	// Unit is the shortest time the backend can tell from none, with what the machine adds: cases let leases and delays
	// last some units. In a bubble a millisecond is enough.
	Unit time.Duration
	// Bubble runs each case in a testing/synctest bubble: for drivers that wait only on channels and timers.
	Bubble bool
	// Parallel runs cases at the same time, as many as go test -parallel says: for backends that share nothing.
	Parallel bool
	// Skip lists cases (by name, or by a part of it up to a "/") that the driver cannot pass, with the reason. The suite runs them all the same and
	// fails if one passes, so the list stays true. rpw's own drivers have none.
	Skip map[string]string
	// Only limits the run to cases named as in Skip, for another way to a store that passes the whole suite; nil: all. The summary says how many of
	// how many ran.
	Only []string
}

// Backend is one store, as several processes would share it.
type Backend struct {
	// Connect opens one more connection to the store, as another process would. The suite makes a Hub of it, sometimes with
	// the contracts decorated to lose calls or replies, and closes that.
	Connect func() (rpw.Parts, error)
	// Flush drops all data behind the back of those who use it, as FLUSHALL does. A driver that has no such thing declares the
	// cases that need it in Skip.
	Flush func()
}

// testCase is one rule.
type testCase struct {
	name     string   // Area/Verb/Rule
	promises []string // of Promises
	rule     string   // what must hold, in a sentence
	run      func(e *env)
}

// allCases are the cases of all areas; names are unique.
func allCases() []testCase {
	return slices.Concat(
		streamCases(), groupCases(), cacheCases(), nameCases(), hubCases(),
		actionCases(), sessionCases(), logCases(), originalCases(),
	)
}

// summaryFile is the environment variable that names a file to which Run appends its summary too, since go test shows no output of
// packages that pass.
const summaryFile = "RPW_CONFORMANCE_SUMMARY"

// Run runs all cases as subtests of t. When all are done it prints to standard output how many ran and how many were
// skipped, and appends the same line to the file that RPW_CONFORMANCE_SUMMARY names.
func Run(t *testing.T, h Harness) {
	if h.Open == nil || h.Unit <= 0 {
		t.Fatal("conformance: a Harness needs Open and Unit")
	}
	all := allCases()
	h.checkNames(t, all)
	cases := h.chosen(all)
	tally := tally{left: len(all) - len(cases)}
	t.Cleanup(func() { report(t, tally.summary(t.Name())) })
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if h.Parallel {
				t.Parallel()
			}
			defer func() {
				if t.Failed() {
					t.Logf("the rule: %s (protects %s)", c.rule, strings.Join(c.promises, ", "))
				}
			}()
			reason, declared := h.skip(c.name)
			tally.count(c.name, declared)
			run := func(t *testing.T) { h.run(t, c, &tally) }
			if declared {
				run = func(t *testing.T) { h.runDeclared(t, c, reason, &tally) }
			}
			if h.Bubble {
				synctest.Test(t, run)
			} else {
				run(t)
			}
		})
	}
}

// run runs one case in a backend of its own.
func (h Harness) run(t testing.TB, c testCase, tally *tally) {
	e := &env{TB: t, backend: h.Open(t), unit: h.Unit, bubble: h.Bubble}
	e.hub = e.peer()
	tally.driver(e.hub.Driver())
	c.run(e)
}

// runDeclared runs a case that is declared to fail, and fails if it does not.
func (h Harness) runDeclared(t testing.TB, c testCase, reason string, tally *tally) {
	r := &recorder{TB: t}
	r.run(func() { h.run(r, c, tally) })
	if !r.Failed() {
		t.Fatalf("the case passes, but is declared as skipped (%s): take it off Harness.Skip", reason)
	}
	t.Skipf("declared: %s", reason)
}

func report(t *testing.T, summary string) {
	fmt.Println(summary)
	path := os.Getenv(summaryFile)
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = fmt.Fprintln(f, summary)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Errorf("conformance: write the summary: %v", err)
	}
}

func (h Harness) skip(name string) (reason string, declared bool) {
	for part, reason := range h.Skip {
		if within(name, part) {
			return reason, true
		}
	}
	return "", false
}

// chosen are the cases that Only leaves.
func (h Harness) chosen(cases []testCase) (chosen []testCase) {
	if h.Only == nil {
		return cases
	}
	for _, c := range cases {
		if slices.ContainsFunc(h.Only, func(part string) bool { return within(c.name, part) }) {
			chosen = append(chosen, c)
		}
	}
	return chosen
}

// within says whether a case is the one, or of the part, that Skip or Only names.
func within(name, part string) bool { return name == part || strings.HasPrefix(name, part+"/") }

// checkNames fails for entries of Only and Skip that name no case, or none that runs.
func (h Harness) checkNames(t testing.TB, cases []testCase) {
	for _, list := range []struct {
		field string
		parts []string
		of    []testCase
	}{{"Only", h.Only, cases}, {"Skip", slices.Sorted(maps.Keys(h.Skip)), h.chosen(cases)}} {
		for _, part := range list.parts {
			if !slices.ContainsFunc(list.of, func(c testCase) bool { return within(c.name, part) }) {
				t.Errorf("conformance: Harness.%s names %q, but there is no such case", list.field, part)
			}
		}
	}
}

// tally counts what ran.
type tally struct {
	mu      sync.Mutex
	name    string // of the driver
	ran     int
	left    int // cases that Only leaves out
	skipped []string
}

func (c *tally) driver(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.name = name
}

func (c *tally) count(name string, skipped bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if skipped {
		c.skipped = append(c.skipped, name)
	} else {
		c.ran++
	}
}

func (c *tally) summary(test string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ran := strconv.Itoa(c.ran)
	if c.left > 0 {
		ran += " of " + strconv.Itoa(c.ran+len(c.skipped)+c.left)
	}
	s := fmt.Sprintf("%s on %s: %s cases run, %d skipped", test, c.name, ran, len(c.skipped))
	if len(c.skipped) > 0 {
		slices.Sort(c.skipped)
		s += ": " + strings.Join(c.skipped, ", ")
	}
	return s
}
