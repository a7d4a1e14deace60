package conformance

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redis-process-worker/rpw"
)

// RunModel replays random sequences of verbs against a hub of the backend and against a model of what the contracts say: slices and
// maps, one verb after another. It compares answers and error codes, and shrinks a sequence that differs. Flags of rapid
// (-rapid.checks, -rapid.steps, -rapid.seed) say how much.
//
// With Harness.Bubble time passes between the verbs too; without, all leases and delays outlast the test.
func RunModel(t *testing.T, h Harness) {
	rapid.Check(t, func(rt *rapid.T) { h.replay(t, rt) })
}

// FuzzModel is RunModel with sequences that go's fuzzer makes.
func FuzzModel(f *testing.F, h Harness) {
	f.Fuzz(func(t *testing.T, input []byte) {
		rapid.MakeFuzz(func(rt *rapid.T) { h.replay(t, rt) })(t, input)
	})
}

// replay replays one sequence in a backend of its own. rapid stops a sequence by a panic, which must not leave the bubble's
// goroutine.
func (h Harness) replay(t *testing.T, rt *rapid.T) {
	if !h.Bubble {
		newWorld(t, rt, h).run()
		return
	}
	var stopped any
	synctest.Test(t, func(t *testing.T) {
		defer func() { stopped = recover() }()
		newWorld(t, rt, h).run()
	})
	switch _, crashed := stopped.(error); { // rapid tells ends apart by the line they come from
	case rt.Failed():
		panic(stopped)
	case crashed:
		panic(stopped)
	case stopped != nil: // it gave the sequence up
		panic(stopped)
	}
}

// world is a hub beside the models of its parts.
type world struct {
	*rapid.T
	ctx    context.Context
	hub    *rpw.Hub
	bubble bool
	short  time.Duration // a lease or delay that may pass
}

// long outlasts a sequence in real time.
const long = rpw.MaxLease

func newWorld(t testing.TB, rt *rapid.T, h Harness) *world {
	parts, err := h.Open(t).Connect()
	require.NoError(rt, err)
	hub, err := rpw.New(parts)
	require.NoError(rt, err)
	t.Cleanup(func() { hub.Close() })
	w := &world{T: rt, ctx: t.Context(), hub: hub, bubble: h.Bubble, short: long}
	if h.Bubble {
		w.short = rpw.MinLease
	}
	return w
}

func (w *world) run() {
	verbs := make(map[string]func(*rapid.T))
	var checks []func()
	for _, m := range []model{newStreamModel(w), newGroupModel(w), newCacheModel(w), newActionModel(w)} {
		for name, verb := range m.verbs() {
			verbs[name] = func(*rapid.T) { verb() }
		}
		checks = append(checks, m.check)
	}
	if w.bubble {
		verbs["time passes"] = func(*rapid.T) {
			// no sum of these is a sum of leases and delays, so nothing ends at the very moment of a verb
			time.Sleep(pick(w, "d", 1333777*time.Nanosecond, 41333777*time.Nanosecond, 171333777*time.Nanosecond, 3*time.Minute+777*time.Nanosecond))
		}
	}
	verbs[""] = func(*rapid.T) {
		for _, check := range checks {
			check()
		}
	}
	w.Repeat(verbs)
}

// model is the model of one contract.
type model interface {
	verbs() map[string]func() // do something to both sides and compare the answers
	check()                   // compare what can be read
}

// span is a duration that may pass, or one that does not.
func (w *world) span(label string) time.Duration { return pick(w, label, w.short, long) }

// code compares error codes.
func (w *world) code(want string, err error, what ...any) {
	w.Helper()
	require.Equalf(w, want, rpw.Code(err), "%v: %v", what, err)
}

func pick[V any](w *world, label string, values ...V) V {
	return rapid.SampledFrom(values).Draw(w.T, label)
}

func (w *world) number(label string, least, most int) int {
	return rapid.IntRange(least, most).Draw(w.T, label)
}
