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
// maps, one verb after another. It compares answers and error codes, and shrinks a sequence that differs. RAPID_CHECKS and
// RAPID_STEPS (or the flags of rapid) say how many sequences, of how many verbs. Each is in a backend of its own.
//
// With Harness.Bubble time passes between the verbs too; without, all leases and delays outlast the test.
//
// A sequence that fails is kept in the package's testdata/rapid, in a folder with the name of the test, and replayed first from then on.
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
		newWorld(scope{t, rt}, rt, h).run()
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

// scope is the test of one sequence: what it opens is closed before the next one begins.
type scope struct {
	testing.TB
	sequence *rapid.T
}

func (s scope) Cleanup(f func())         { s.sequence.Cleanup(f) }
func (s scope) Context() context.Context { return s.sequence.Context() }

// world is a hub beside the models of its parts.
type world struct {
	*rapid.T
	ctx    context.Context
	hub    *rpw.Hub
	flush  func()
	bubble bool
	short  time.Duration // a lease or delay that may pass
	models []model
}

// long outlasts a sequence in real time.
const long = rpw.MaxLease

func newWorld(t testing.TB, rt *rapid.T, h Harness) *world {
	backend := h.Open(t)
	parts, err := backend.Connect()
	require.NoError(rt, err)
	hub, err := rpw.New(parts)
	require.NoError(rt, err)
	t.Cleanup(func() { hub.Close() })
	w := &world{T: rt, ctx: t.Context(), hub: hub, flush: backend.Flush, bubble: h.Bubble, short: long}
	if h.Bubble {
		w.short = rpw.MinLease
	}
	w.models = []model{newStreamModel(w), newGroupModel(w), newCacheModel(w), newActionModel(w), newWorkerModel(w), newLogModel(w)}
	return w
}

// contracts are the names of the models.
var contracts = []string{"streams", "groups", "cache", "actions", "workers", "logs"}

// run replays a sequence: of all contracts, or of one of them, which then is seen in more of its states.
func (w *world) run() {
	verbs := make(map[string]func(*rapid.T))
	about := pick(w, "contract", append([]string{"all"}, contracts...)...)
	for i, m := range w.models {
		if about != "all" && about != contracts[i] {
			continue
		}
		for name, verb := range m.verbs() {
			verbs[name] = func(*rapid.T) {
				verb()
				m.check()
			}
		}
	}
	if w.bubble {
		verbs["time passes"] = func(*rapid.T) {
			// no sum of these is a sum of leases and delays, so nothing ends at the very moment of a verb
			time.Sleep(pick(w, "d", 1333777*time.Nanosecond, 41333777*time.Nanosecond, 171333777*time.Nanosecond, 3*time.Minute+777*time.Nanosecond))
			w.check()
		}
	}
	if w.flush != nil {
		verbs["flush"] = func(*rapid.T) {
			if w.number("really", 0, 3) == 0 {
				w.lose()
			}
		}
	}
	w.Repeat(verbs)
	w.check()
}

// check compares all that can be read.
func (w *world) check() {
	for _, m := range w.models {
		m.check()
	}
}

// lose drops all data behind the hub's back.
func (w *world) lose() {
	w.flush()
	w.tick()
	for _, m := range w.models {
		m.flushed()
	}
	w.check()
}

// tick lets the store's time go on, since ids and tokens that begin again begin at it.
func (w *world) tick() { time.Sleep(2*time.Millisecond + 111*time.Nanosecond) }

// model is the model of one contract.
type model interface {
	verbs() map[string]func() // do something to both sides and compare the answers
	flushed()                 // the store has lost everything
	check()                   // compare what can be read
}

// span is a duration that may pass, or one that does not.
func (w *world) span(label string) time.Duration { return pick(w, label, w.short, long) }

// code compares error codes.
func (w *world) code(want string, err error, what ...any) {
	w.Helper()
	require.Equalf(w, want, rpw.Code(err), "%v: %v", what, err)
}

// blur is by how many seconds times of the store may be off.
func (w *world) blur() float64 {
	if w.bubble {
		return 0.001
	}
	return 60
}

func pick[V any](w *world, label string, values ...V) V {
	return rapid.SampledFrom(values).Draw(w.T, label)
}

func (w *world) number(label string, least, most int) int {
	return rapid.IntRange(least, most).Draw(w.T, label)
}
