// Package conformance is the suite that every driver of rpw passes, also those of other people.
//
//	func TestConformance(t *testing.T) {
//		conformance.Run(t, conformance.Harness{
//			Open: func(t testing.TB) conformance.Backend { ... },
//			Unit: 20 * time.Millisecond,
//		})
//	}
//
// Each case has a stable name (Streams/Publish/SameKeyTwiceIsOneEvent), names the promises it protects, and prints its rule when it fails.
package conformance

import (
	"fmt"
	"slices"
	"strings"
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
	// Skip lists cases (by name or prefix) that the driver cannot pass, with the reason. The suite runs them all the same and
	// fails if one passes, so the list stays true. rpw's own drivers have none.
	Skip map[string]string
}

// Backend is one store, as several processes would share it.
type Backend struct {
	// Hub opens one more connection to the store, as another process would. The suite closes it.
	Hub func(opts ...rpw.Option) (*rpw.Hub, error)
	// Flush drops all data behind the back of those who use it, as FLUSHALL does. nil: cases that need it are skipped, and counted as skipped.
	Flush func()
	// LoseReplies makes the calls of the hubs that are opened after it lose their reply after the store has done the work,
	// each time lose says so. nil: the suite wraps the Hub's parts itself, which fits every driver whose Parts are reachable by Wrap.
	Wrap func(wrap func(rpw.Parts) rpw.Parts) (*rpw.Hub, error)
}

// testCase is one rule.
type testCase struct {
	name     string   // Area/Verb/Rule
	promises []string // of Promises
	rule     string   // what must hold, in a sentence
	run      func(e *env)
}

// env is what a case works with.
type env struct {
	testing.TB
	backend Backend
	hub     *rpw.Hub // of the case's own process
	unit    time.Duration
}

// peer opens the hub of another process.
func (e *env) peer(opts ...rpw.Option) *rpw.Hub {
	e.Helper()
	h, err := e.backend.Hub(opts...)
	if err != nil {
		e.Fatalf("open another hub: %v", err)
	}
	e.Cleanup(func() { h.Close() })
	return h
}

// units is a duration in which the backend can be told to do something, and be seen to have done it.
func (e *env) units(n int) time.Duration { return time.Duration(n) * e.unit }

// Run runs all cases as subtests of t, and prints how many ran and how many were skipped.
func Run(t *testing.T, h Harness) {
	if h.Open == nil || h.Unit <= 0 {
		t.Fatal("conformance: a Harness needs Open and Unit")
	}
	var ran, skipped []string
	for _, c := range allCases() {
		t.Run(c.name, func(t *testing.T) {
			reason, declared := h.skip(c.name)
			if declared {
				skipped = append(skipped, c.name)
				t.Skipf("declared: %s", reason)
			}
			ran = append(ran, c.name)
			defer func() {
				if t.Failed() {
					t.Logf("the rule: %s (protects %s)", c.rule, strings.Join(c.promises, ", "))
				}
			}()
			if h.Bubble {
				synctest.Test(t, func(t *testing.T) { h.run(t, c) })
			} else {
				h.run(t, c)
			}
		})
	}
	t.Logf("conformance: %d cases run, %d skipped%s", len(ran), len(skipped), list(skipped))
}

func (h Harness) skip(name string) (reason string, declared bool) {
	for prefix, reason := range h.Skip {
		if name == prefix || strings.HasPrefix(name, prefix+"/") {
			return reason, true
		}
	}
	return "", false
}

func (h Harness) run(t *testing.T, c testCase) {
	b := h.Open(t)
	hub, err := b.Hub()
	if err != nil {
		t.Fatalf("open a hub: %v", err)
	}
	defer hub.Close()
	c.run(&env{TB: t, backend: b, hub: hub, unit: h.Unit})
}

func list(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return ": " + strings.Join(names, ", ")
}

// allCases are the cases of all areas; names are unique.
func allCases() []testCase {
	cases := slices.Concat[[]testCase]()
	seen := make(map[string]bool)
	for _, c := range cases {
		if seen[c.name] {
			panic(fmt.Sprintf("conformance: two cases are named %s", c.name))
		}
		seen[c.name] = true
	}
	return cases
}
