package memory

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// actionTest drives an actionStore in a test; errors of whole calls end the test.
type actionTest struct {
	*actionStore
	t testingT
}

// testingT is a *testing.T or a *rapid.T.
type testingT interface {
	require.TestingT
	Helper()
	Context() context.Context
}

// inBubble runs a test in virtual time over a fresh store.
func inBubble(t *testing.T, test func(t *testing.T, s actionTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newActionTest(t)) })
}

func newActionTest(t testingT) actionTest {
	return actionTest{New(Options{}).actions, t}
}

func ref(id string) rpw.ActionRef { return rpw.ActionRef{Queue: "q", ID: id} }

func spec(id string) rpw.ActionSpec {
	return rpw.ActionSpec{Ref: ref(id), Name: "work", Arg: json.RawMessage(`{"n":1}`)}
}

func (s actionTest) enqueue(specs ...rpw.ActionSpec) []rpw.Enqueued {
	s.t.Helper()
	answers, err := s.Enqueue(s.t.Context(), specs)
	require.NoError(s.t, err)
	return answers
}

// put enqueues what must be accepted.
func (s actionTest) put(specs ...rpw.ActionSpec) {
	s.t.Helper()
	for _, answer := range s.enqueue(specs...) {
		require.NoError(s.t, answer.Err)
	}
}

func (s actionTest) take(req rpw.ClaimRequest) []rpw.Claimed {
	s.t.Helper()
	if req.Queues == nil {
		req.Queues = []string{"q"}
	}
	if req.Worker == "" {
		req.Worker = "w1"
	}
	claimed, err := s.Claim(s.t.Context(), req)
	require.NoError(s.t, err)
	return claimed
}

// takeOne claims exactly one action.
func (s actionTest) takeOne() rpw.Claimed {
	s.t.Helper()
	claimed := s.take(rpw.ClaimRequest{})
	require.Len(s.t, claimed, 1)
	return claimed[0]
}

func (s actionTest) move(m rpw.Move) rpw.Advanced {
	s.t.Helper()
	answers, err := s.Advance(s.t.Context(), rpw.AdvanceRequest{Moves: []rpw.Move{m}})
	require.NoError(s.t, err)
	require.Len(s.t, answers, 1)
	return answers[0]
}

func (s actionTest) command(c rpw.Command) rpw.Controlled {
	s.t.Helper()
	answers, err := s.Control(s.t.Context(), rpw.ControlRequest{Commands: []rpw.Command{c}})
	require.NoError(s.t, err)
	require.Len(s.t, answers, 1)
	return answers[0]
}

func (s actionTest) got(id string) rpw.GotAction {
	s.t.Helper()
	answers, err := s.Get(s.t.Context(), []rpw.ActionRef{ref(id)})
	require.NoError(s.t, err)
	require.Len(s.t, answers, 1)
	return answers[0]
}

func kinds(changes []rpw.Change) []rpw.ChangeKind {
	var kinds []rpw.ChangeKind
	for i, c := range changes {
		kinds = append(kinds, c.Kind)
		if i > 0 && c.Seq != changes[i-1].Seq+1 {
			kinds = append(kinds, "hole")
		}
	}
	return kinds
}

// check asserts that the queue's books agree with its records.
func (s actionTest) check() {
	s.t.Helper()
	for _, name := range s.names() {
		q := s.open(name, false)
		if q == nil {
			continue
		}
		states := map[rpw.State]int64{}
		records := 0
		for _, p := range q.places {
			r := p.record
			if r == nil {
				continue
			}
			records++
			states[r.State]++
			assert.Same(s.t, r, q.byID[r.Ref.ID])
			assert.Equal(s.t, r.State == rpw.Pending && !r.RunAt.After(q.now), r.readySlot != noSlot, "ready: %s", r.Ref)
			_, timed := r.next(q.now)
			assert.Equal(s.t, timed && !r.State.Terminal(), r.agendaSlot != noSlot, "agenda: %s", r.Ref)
			assert.Equal(s.t, timed && r.State.Terminal(), r.keptSlot != noSlot, "kept: %s", r.Ref)
			if r.Unique != "" {
				assert.Equal(s.t, !r.State.Terminal(), q.unique[r.Unique] == r, "unique: %s", r.Ref)
			}
		}
		assert.Equal(s.t, len(q.byID), records)
		for state, n := range q.states {
			assert.Equal(s.t, states[state], n, "%s", state)
		}
		q.close()
	}
}
