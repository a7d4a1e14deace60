package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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

func TestActionLife(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		began := time.Now()
		s.put(spec("a"))
		c := s.takeOne()
		assert.Equal(t, rpw.Running, c.State)
		assert.Equal(t, 1, c.Attempt)
		assert.Equal(t, "w1", c.Worker)
		assert.Equal(t, ref("a"), c.Lease.Ref)
		assert.GreaterOrEqual(t, c.Lease.Token, uint64(began.UnixMicro()))
		assert.True(t, c.Until.Equal(began.Add(rpw.DefaultLease)))
		assert.Empty(t, s.take(rpw.ClaimRequest{}), "one holder")

		time.Sleep(time.Second)
		adv := s.move(rpw.Move{Lease: c.Lease, Kind: rpw.SetProgress, Progress: 0.5, Data: json.RawMessage(`{"at":5}`)})
		require.NoError(t, adv.Err)
		assert.True(t, adv.Until.Equal(began.Add(time.Second+rpw.DefaultLease)), "progress renews")
		require.NoError(t, s.move(rpw.Move{Lease: c.Lease, Kind: rpw.SetProgress, Progress: -1}).Err)
		require.NoError(t, s.move(rpw.Move{Lease: c.Lease, Kind: rpw.AddEvent, Event: "half", Data: json.RawMessage(`1`)}).Err)
		adv = s.move(rpw.Move{Lease: c.Lease, Kind: rpw.Complete, Output: json.RawMessage(`"done"`)})
		require.NoError(t, adv.Err)
		assert.Equal(t, rpw.Completed, adv.State)
		assert.Zero(t, adv.Until)

		a := s.got("a")
		require.NoError(t, a.Err)
		assert.JSONEq(t, `"done"`, string(a.Output))
		assert.JSONEq(t, `{"at":5}`, string(a.Data))
		assert.Equal(t, 0.5, a.Progress)
		assert.Equal(t, uint64(6), a.Seq)
		assert.Equal(t, []rpw.ChangeKind{"request", "claimed", "data", "data", "event", "completed"}, kinds(a.Events))
		assert.Equal(t, 5, rpw.DefaultMaxAttempts)
		assert.Equal(t, a.MaxAttempts, rpw.DefaultMaxAttempts)
		s.check()
	})
}

// TestActionMoves is the table of the state machine: a move, on an action in a condition, and what it comes to.
func TestActionMoves(t *testing.T) {
	type outcome struct {
		state rpw.State
		err   error
	}
	moves := map[string]rpw.Move{
		"renew":    {Kind: rpw.Renew},
		"progress": {Kind: rpw.SetProgress, Progress: 1},
		"event":    {Kind: rpw.AddEvent, Event: "e"},
		"complete": {Kind: rpw.Complete},
		"fail":     {Kind: rpw.Fail, Failure: rpw.ActionFailure{Message: "no"}},
		"giveback": {Kind: rpw.Giveback},
		"accept":   {Kind: rpw.AcceptCancel},
	}
	conditions := []struct {
		name  string
		reach func(s actionTest, l rpw.Lease)
		want  map[string]outcome // "": every other move
	}{
		{"running", func(actionTest, rpw.Lease) {}, map[string]outcome{
			"renew": {rpw.Running, nil}, "progress": {rpw.Running, nil}, "event": {rpw.Running, nil},
			"complete": {rpw.Completed, nil}, "fail": {rpw.Pending, nil}, "giveback": {rpw.Pending, nil},
			"accept": {rpw.Running, rpw.ErrConflict},
		}},
		{"cancel requested", func(s actionTest, _ rpw.Lease) { s.command(rpw.Command{Kind: rpw.Cancel, Ref: ref("a")}) }, map[string]outcome{
			"renew": {rpw.Running, nil}, "progress": {rpw.Running, nil}, "event": {rpw.Running, nil},
			"complete": {rpw.Cancelled, rpw.ErrCancelled}, "fail": {rpw.Cancelled, rpw.ErrCancelled},
			"giveback": {rpw.Cancelled, nil}, "accept": {rpw.Cancelled, nil},
		}},
		{"completed", func(s actionTest, l rpw.Lease) { s.move(rpw.Move{Lease: l, Kind: rpw.Complete}) }, map[string]outcome{
			"complete": {rpw.Completed, nil}, "": {rpw.Completed, rpw.ErrFinished},
		}},
		{"failed for good", func(s actionTest, l rpw.Lease) {
			s.move(rpw.Move{Lease: l, Kind: rpw.Fail, Failure: rpw.ActionFailure{Permanent: true}})
		}, map[string]outcome{
			"fail": {rpw.Failed, nil}, "": {rpw.Failed, rpw.ErrFinished},
		}},
		{"failed, to be tried again", func(s actionTest, l rpw.Lease) { s.move(rpw.Move{Lease: l, Kind: rpw.Fail}) }, map[string]outcome{
			"fail": {rpw.Pending, nil}, "": {rpw.Pending, rpw.ErrLeaseLost},
		}},
		{"given back", func(s actionTest, l rpw.Lease) { s.move(rpw.Move{Lease: l, Kind: rpw.Giveback}) }, map[string]outcome{
			"giveback": {rpw.Pending, nil}, "": {rpw.Pending, rpw.ErrLeaseLost},
		}},
		{"cancelled and accepted", func(s actionTest, l rpw.Lease) {
			s.command(rpw.Command{Kind: rpw.Cancel, Ref: ref("a")})
			s.move(rpw.Move{Lease: l, Kind: rpw.AcceptCancel})
		}, map[string]outcome{
			"accept": {rpw.Cancelled, nil}, "": {rpw.Cancelled, rpw.ErrFinished},
		}},
		{"completed after cancel", func(s actionTest, l rpw.Lease) {
			s.command(rpw.Command{Kind: rpw.Cancel, Ref: ref("a")})
			s.move(rpw.Move{Lease: l, Kind: rpw.Complete})
		}, map[string]outcome{
			"complete": {rpw.Cancelled, rpw.ErrCancelled}, "": {rpw.Cancelled, rpw.ErrFinished},
		}},
		{"lease lapsed", func(actionTest, rpw.Lease) { time.Sleep(rpw.DefaultLease) }, map[string]outcome{
			"": {rpw.Pending, rpw.ErrLeaseLost},
		}},
		{"grace over", func(s actionTest, l rpw.Lease) {
			s.move(rpw.Move{Lease: l, Kind: rpw.Renew, For: time.Hour})
			s.command(rpw.Command{Kind: rpw.Cancel, Ref: ref("a")})
			time.Sleep(rpw.DefaultCancelGrace)
		}, map[string]outcome{
			"": {rpw.Cancelled, rpw.ErrLeaseLost},
		}},
		{"superseded", func(s actionTest, _ rpw.Lease) {
			time.Sleep(rpw.DefaultLease)
			s.takeOne()
		}, map[string]outcome{
			"": {rpw.Running, rpw.ErrLeaseLost},
		}},
		{"deleted", func(s actionTest, l rpw.Lease) {
			s.move(rpw.Move{Lease: l, Kind: rpw.Complete})
			s.command(rpw.Command{Kind: rpw.DeleteAction, Ref: ref("a")})
		}, map[string]outcome{
			"": {"", rpw.ErrNotFound},
		}},
	}
	for _, cond := range conditions {
		for name, move := range moves {
			t.Run(cond.name+"/"+name, func(t *testing.T) {
				inBubble(t, func(t *testing.T, s actionTest) {
					s.put(spec("a"))
					c := s.takeOne()
					cond.reach(s, c.Lease)
					before := s.got("a")
					move.Lease = c.Lease
					want, ok := cond.want[name]
					if !ok {
						want = cond.want[""]
					}
					for range 2 { // a repeat answers the same
						adv := s.move(move)
						assert.ErrorIs(t, adv.Err, want.err)
						assert.Equal(t, want.state, adv.State)
						if want.err != nil && want.err != rpw.ErrCancelled {
							assert.Equal(t, before, s.got("a"), "a refused move changes nothing")
						}
					}
					s.check()
				})
			})
		}
	}
}

func TestActionCommands(t *testing.T) {
	type outcome struct {
		state rpw.State
		err   error
	}
	states := []struct {
		name  string
		reach func(s actionTest)
		want  map[rpw.CommandKind]outcome
	}{
		{"pending", func(actionTest) {}, map[rpw.CommandKind]outcome{
			rpw.Cancel: {rpw.Cancelled, nil}, rpw.Retry: {rpw.Pending, rpw.ErrConflict},
			rpw.DeleteAction: {"", nil}, rpw.Reschedule: {rpw.Pending, nil},
		}},
		{"running", func(s actionTest) { s.takeOne() }, map[rpw.CommandKind]outcome{
			rpw.Cancel: {rpw.Running, nil}, rpw.Retry: {rpw.Running, rpw.ErrConflict},
			rpw.DeleteAction: {rpw.Running, rpw.ErrConflict}, rpw.Reschedule: {rpw.Running, rpw.ErrConflict},
		}},
		{"completed", func(s actionTest) { s.move(rpw.Move{Lease: s.takeOne().Lease, Kind: rpw.Complete}) }, map[rpw.CommandKind]outcome{
			rpw.Cancel: {rpw.Completed, rpw.ErrFinished}, rpw.Retry: {rpw.Completed, rpw.ErrFinished},
			rpw.DeleteAction: {"", nil}, rpw.Reschedule: {rpw.Completed, rpw.ErrFinished},
		}},
		{"failed", func(s actionTest) {
			s.move(rpw.Move{Lease: s.takeOne().Lease, Kind: rpw.Fail, Failure: rpw.ActionFailure{Permanent: true}})
		}, map[rpw.CommandKind]outcome{
			rpw.Cancel: {rpw.Failed, rpw.ErrFinished}, rpw.Retry: {rpw.Pending, nil},
			rpw.DeleteAction: {"", nil}, rpw.Reschedule: {rpw.Failed, rpw.ErrFinished},
		}},
		{"cancelled", func(s actionTest) { s.command(rpw.Command{Kind: rpw.Cancel, Ref: ref("a")}) }, map[rpw.CommandKind]outcome{
			rpw.Cancel: {rpw.Cancelled, nil}, rpw.Retry: {rpw.Pending, nil},
			rpw.DeleteAction: {"", nil}, rpw.Reschedule: {rpw.Cancelled, rpw.ErrFinished},
		}},
		{"absent", func(s actionTest) { s.command(rpw.Command{Kind: rpw.DeleteAction, Ref: ref("a")}) }, map[rpw.CommandKind]outcome{
			rpw.Cancel: {"", rpw.ErrNotFound}, rpw.Retry: {"", rpw.ErrNotFound},
			rpw.DeleteAction: {"", rpw.ErrNotFound}, rpw.Reschedule: {"", rpw.ErrNotFound},
		}},
	}
	for _, state := range states {
		for kind, want := range state.want {
			t.Run(fmt.Sprintf("%s/%d", state.name, kind), func(t *testing.T) {
				inBubble(t, func(t *testing.T, s actionTest) {
					s.put(spec("a"))
					state.reach(s)
					answer := s.command(rpw.Command{Kind: kind, Ref: ref("a"), Delay: time.Minute})
					assert.ErrorIs(t, answer.Err, want.err)
					assert.Equal(t, want.state, answer.State)
					s.check()
				})
			})
		}
	}
}

func TestActionRetries(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		sp := spec("a")
		sp.MaxAttempts = 3
		s.put(sp)
		for attempt := 1; attempt <= 3; attempt++ {
			c := s.takeOne()
			assert.Equal(t, attempt, c.Attempt)
			assert.Nil(t, c.Failure)
			adv := s.move(rpw.Move{Lease: c.Lease, Kind: rpw.Fail, Failure: rpw.ActionFailure{Message: fmt.Sprint("no ", attempt)}, RetryIn: time.Minute})
			require.NoError(t, adv.Err)
			if attempt < 3 {
				assert.Equal(t, rpw.Pending, adv.State)
				assert.Equal(t, fmt.Sprint("no ", attempt), s.got("a").Failure.Message)
				time.Sleep(time.Minute - 1)
				assert.Empty(t, s.take(rpw.ClaimRequest{}), "never early")
				time.Sleep(time.Nanosecond)
			}
		}
		a := s.got("a")
		assert.Equal(t, rpw.Failed, a.State)
		require.Len(t, a.Failures, 3)
		assert.Equal(t, rpw.ActionFailure{Message: "no 3", Attempt: 3, Time: a.Finished, Worker: "w1"}, *a.Failure)

		require.Equal(t, rpw.Controlled{State: rpw.Pending}, s.command(rpw.Command{Kind: rpw.Retry, Ref: ref("a")}))
		c := s.takeOne()
		assert.Equal(t, 1, c.Attempt, "with all its attempts")
		assert.Len(t, c.Failures, 3)
		require.NoError(t, s.move(rpw.Move{Lease: c.Lease, Kind: rpw.Complete}).Err)
		assert.Nil(t, s.got("a").Failure)
		assert.Equal(t, []rpw.ChangeKind{"request", "claimed", "retry", "claimed", "retry", "claimed", "failed", "rescheduled", "claimed", "completed"}, kinds(s.got("a").Events))
	})
}

// TestActionAlone leaves actions without any verb for long: all that time did to them shows, as of when it happened.
func TestActionAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		began := time.Now()
		once, expiring, cancelled, again, late := spec("once"), spec("expiring"), spec("cancelled"), spec("again"), spec("late")
		once.MaxAttempts = 1
		once.Keep.Failed = 2 * week
		expiring.StartWithin = time.Hour
		expiring.Delay = 3 * time.Hour
		expiring.Keep.Failed = 2 * week
		cancelled.Keep.Cancelled = rpw.NoTTL
		late.Delay = 2 * day
		s.put(once, cancelled, again)
		for _, c := range s.take(rpw.ClaimRequest{Max: 3}) {
			if c.Ref.ID == "cancelled" {
				require.NoError(t, s.move(rpw.Move{Lease: c.Lease, Kind: rpw.Renew, For: time.Hour}).Err)
			}
		}
		s.put(expiring, late)
		s.command(rpw.Command{Kind: rpw.Cancel, Ref: ref("cancelled"), Reason: "enough"})

		time.Sleep(week)

		a := s.got("once")
		assert.Equal(t, rpw.Failed, a.State)
		assert.True(t, a.Finished.Equal(began.Add(rpw.DefaultLease)), "%v", a.Finished)
		assert.Equal(t, "worker lost: lease ended", a.Failure.Message)
		assert.Equal(t, "w1", a.Failure.Worker)
		a = s.got("expiring")
		assert.Equal(t, rpw.Failed, a.State)
		assert.True(t, a.Finished.Equal(began.Add(time.Hour)))
		assert.Equal(t, "not started within 1h0m0s", a.Failure.Message)
		assert.Empty(t, a.Failures)
		a = s.got("cancelled")
		assert.Equal(t, rpw.Cancelled, a.State)
		assert.True(t, a.Finished.Equal(began.Add(rpw.DefaultCancelGrace)))
		assert.Equal(t, "enough", a.Failure.Message)
		assert.Equal(t, []rpw.ChangeKind{"request", "claimed", "cancel", "cancelled"}, kinds(a.Events))
		a = s.got("again")
		assert.Equal(t, rpw.Pending, a.State)
		assert.True(t, a.RunAt.Equal(began.Add(rpw.DefaultLease)))
		assert.Equal(t, 1, a.Attempt)
		assert.Equal(t, "worker lost: lease ended", a.Failure.Message)

		claimed := s.take(rpw.ClaimRequest{Max: 10})
		require.Len(t, claimed, 2)
		assert.Equal(t, []string{"again", "late"}, []string{claimed[0].Ref.ID, claimed[1].Ref.ID}, "by when they became due")
		s.check()
	})
}

func TestActionLeaseLapses(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		s.put(spec("a"))
		first := s.takeOne()
		time.Sleep(rpw.DefaultLease - 1)
		adv := s.move(rpw.Move{Lease: first.Lease, Kind: rpw.Renew})
		require.NoError(t, adv.Err)
		time.Sleep(rpw.DefaultLease - 1)
		adv = s.move(rpw.Move{Lease: first.Lease, Kind: rpw.Renew, For: time.Minute})
		assert.True(t, adv.Until.Equal(time.Now().Add(time.Minute)))
		adv = s.move(rpw.Move{Lease: first.Lease, Kind: rpw.Renew, For: time.Second})
		assert.True(t, adv.Until.Equal(time.Now().Add(time.Second)), "also shorter")
		time.Sleep(time.Second)

		second := s.take(rpw.ClaimRequest{Worker: "w2"})
		require.Len(t, second, 1)
		assert.Greater(t, second[0].Lease.Token, first.Lease.Token)
		assert.Equal(t, 2, second[0].Attempt)
		assert.ErrorIs(t, s.move(rpw.Move{Lease: first.Lease, Kind: rpw.Complete}).Err, rpw.ErrLeaseLost)
		require.NoError(t, s.move(rpw.Move{Lease: second[0].Lease, Kind: rpw.Complete}).Err)
		assert.ErrorIs(t, s.move(rpw.Move{Lease: first.Lease, Kind: rpw.Complete}).Err, rpw.ErrLeaseLost)
		assert.Equal(t, []rpw.ChangeKind{"request", "claimed", "retry", "claimed", "completed"}, kinds(s.got("a").Events))
	})
}

func TestActionTokensGrow(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		var last uint64
		claim := func() rpw.Lease {
			c := s.takeOne()
			assert.Greater(t, c.Lease.Token, last)
			last = c.Lease.Token
			return c.Lease
		}
		s.put(spec("a"))
		require.NoError(t, s.move(rpw.Move{Lease: claim(), Kind: rpw.Giveback}).Err)
		require.NoError(t, s.move(rpw.Move{Lease: claim(), Kind: rpw.Fail}).Err)
		require.NoError(t, s.move(rpw.Move{Lease: claim(), Kind: rpw.Fail, Failure: rpw.ActionFailure{Permanent: true}}).Err)
		s.command(rpw.Command{Kind: rpw.Retry, Ref: ref("a")})
		require.NoError(t, s.move(rpw.Move{Lease: claim(), Kind: rpw.Complete}).Err)
		s.command(rpw.Command{Kind: rpw.DeleteAction, Ref: ref("a")})
		s.put(spec("a"))
		claim() // also for another action of the same name
	})
}

func TestActionGiveback(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		sp := spec("a")
		sp.MaxAttempts = 1
		sp.StartWithin = time.Minute
		s.put(sp)
		for range 3 {
			c := s.takeOne()
			assert.Equal(t, 1, c.Attempt)
			require.NoError(t, s.move(rpw.Move{Lease: c.Lease, Kind: rpw.Giveback, RetryIn: time.Second}).Err)
			assert.Equal(t, 0, s.got("a").Attempt)
			assert.Zero(t, s.got("a").Started)
			time.Sleep(time.Second)
		}
		c := s.takeOne()
		require.NoError(t, s.move(rpw.Move{Lease: c.Lease, Kind: rpw.Renew, For: time.Hour}).Err)
		time.Sleep(10 * time.Minute) // it has begun: no expiry
		assert.Equal(t, rpw.Running, s.got("a").State)
		require.NoError(t, s.move(rpw.Move{Lease: c.Lease, Kind: rpw.Giveback}).Err)
		a := s.got("a") // nothing has begun any more
		assert.Equal(t, rpw.Failed, a.State)
		assert.True(t, a.Finished.Equal(time.Now()))
		assert.True(t, slices.IsSortedFunc(a.Events, func(a, b rpw.Change) int { return a.Time.Compare(b.Time) }))
	})
}

func TestActionCancelWaitsForTheHandler(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		s.put(spec("a"))
		c := s.takeOne()
		require.Equal(t, rpw.Controlled{State: rpw.Running}, s.command(rpw.Command{Kind: rpw.Cancel, Ref: ref("a"), Reason: "stop"}))
		assert.True(t, s.got("a").CancelAt.Equal(time.Now()))
		time.Sleep(5 * time.Second)
		adv := s.move(rpw.Move{Lease: c.Lease, Kind: rpw.Renew})
		require.NoError(t, adv.Err)
		assert.True(t, adv.Cancel)
		time.Sleep(rpw.DefaultCancelGrace - 5*time.Second)
		assert.Equal(t, rpw.Cancelled, s.got("a").State, "the grace ends before the lease")
		assert.Empty(t, s.take(rpw.ClaimRequest{}))
	})
	inBubble(t, func(t *testing.T, s actionTest) {
		sp := spec("a")
		sp.CancelGrace = time.Hour
		s.put(sp)
		s.takeOne()
		s.command(rpw.Command{Kind: rpw.Cancel, Ref: ref("a")})
		time.Sleep(rpw.DefaultLease)
		a := s.got("a")
		assert.Equal(t, rpw.Cancelled, a.State, "the lease ends before the grace")
		assert.Equal(t, "cancelled", a.Failure.Message)
		assert.Empty(t, a.Failures)
	})
}

// TestActionClockFallsBack: F15, A2: the clock falls back.
func TestActionClockFallsBack(t *testing.T) {
	s := newActionTest(t)
	s.put(spec("a"))
	s.takeOne()
	q := s.open("q", false)
	defer q.close()
	r := q.byID["a"]
	before := q.now.Add(-time.Hour)
	q.advance(before)
	assert.True(t, r.Until.Equal(before.Add(rpw.DefaultLease)))
	q.advance(before.Add(rpw.DefaultLease))
	assert.Equal(t, rpw.Pending, r.State)
}

func TestActionLanes(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		s.put(spec("a"), spec("b"))
		lane := rpw.Lane{ID: [16]byte{1}, Seq: 1}
		first := s.take(rpw.ClaimRequest{Lane: lane})
		assert.Equal(t, first, s.take(rpw.ClaimRequest{Lane: lane}), "a repeat claims nothing more")
		req := rpw.AdvanceRequest{Lane: lane, Moves: []rpw.Move{{Lease: first[0].Lease, Kind: rpw.AddEvent, Event: "e"}}}
		for range 2 {
			_, err := s.Advance(t.Context(), req)
			require.NoError(t, err)
		}
		assert.Equal(t, uint64(3), s.got("a").Seq, "one event")
		lane.Seq = 2
		assert.Len(t, s.take(rpw.ClaimRequest{Lane: lane}), 1)
		lane.Seq = 1
		_, err := s.Claim(t.Context(), rpw.ClaimRequest{Queues: []string{"q"}, Lane: lane})
		assert.ErrorIs(t, err, rpw.ErrConflict, "a late execution")
		control := rpw.ControlRequest{Lane: lane, Commands: []rpw.Command{{Kind: rpw.Cancel, Ref: ref("a")}}}
		for range 2 {
			answers, err := s.Control(t.Context(), control)
			require.NoError(t, err)
			assert.Equal(t, []rpw.Controlled{{State: rpw.Running}}, answers)
		}
	})
}

func TestActionContextEndedBefore(t *testing.T) {
	s := newActionTest(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Enqueue(ctx, []rpw.ActionSpec{spec("a")})
	assert.ErrorIs(t, err, context.Canceled)
	_, err = s.Claim(ctx, rpw.ClaimRequest{Queues: []string{"q"}, Wait: rpw.Forever})
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorIs(t, s.got("a").Err, rpw.ErrNotFound)
}

func TestActionRetention(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		const n = 500
		var specs []rpw.ActionSpec
		for i := range n {
			sp := spec(fmt.Sprint("a", i))
			sp.Keep.Completed = time.Hour
			specs = append(specs, sp)
		}
		forever := spec("forever")
		forever.Keep.Completed = rpw.NoTTL
		s.put(append(specs, forever)...)
		for range n + 1 {
			require.NoError(t, s.move(rpw.Move{Lease: s.takeOne().Lease, Kind: rpw.Complete}).Err)
		}
		used := s.store.used.Load()
		time.Sleep(time.Hour - 1)
		counts, err := s.Count(t.Context(), rpw.ActionFilter{})
		require.NoError(t, err)
		assert.Equal(t, map[rpw.State]int64{rpw.Completed: n + 1}, counts)
		time.Sleep(time.Nanosecond)

		counts, err = s.Count(t.Context(), rpw.ActionFilter{})
		require.NoError(t, err)
		assert.Equal(t, map[rpw.State]int64{rpw.Completed: 1}, counts, "also those that were not removed yet")
		q := s.open("q", false)
		assert.Greater(t, len(q.byID), 1, "removed in slices")
		q.close()
		assert.ErrorIs(t, s.got(fmt.Sprint("a", n-1)).Err, rpw.ErrNotFound)
		page, err := s.List(t.Context(), rpw.ListActions{})
		require.NoError(t, err)
		require.Len(t, page.Actions, 1)
		info, err := s.Queues(t.Context(), rpw.QueuesRequest{})
		require.NoError(t, err)
		assert.Equal(t, []rpw.QueueInfo{{Name: "q", Finished: 1}}, info.Queues)
		s.sweep()
		q = s.open("q", false)
		assert.Len(t, q.byID, 1)
		assert.LessOrEqual(t, len(q.places), 2*len(q.byID))
		q.close()
		assert.Less(t, s.store.used.Load(), used/n*2)
		s.check()

		s.command(rpw.Command{Kind: rpw.DeleteAction, Ref: ref("forever")})
		assert.Zero(t, s.store.used.Load())
		assert.Empty(t, s.names(), "an empty queue is forgotten")
	})
}

// TestActionStoreFull: F45, F23, A1: the store is full.
func TestActionStoreFull(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		size := specSize(new(spec("a0")))
		s.store.max = int64(3 * size)
		old := spec("a1")
		old.Ref.Queue = "idle"
		s.put(old)
		l := s.take(rpw.ClaimRequest{Queues: []string{"idle"}})[0].Lease
		s.put(spec("a2"), spec("a3"))
		for _, answer := range s.enqueue(spec("a4"), spec("a2")) {
			assert.ErrorIs(t, answer.Err, rpw.ErrFull)
		}
		assert.ErrorIs(t, s.got("a4").Err, rpw.ErrNotFound)
		require.NoError(t, s.move(rpw.Move{Lease: l, Kind: rpw.Complete, Output: make(json.RawMessage, 10*size)}).Err, "work goes on")
		time.Sleep(day)
		s.put(spec("a4")) // what is past its retention makes room, in any queue
		assert.Equal(t, int64(3*size), s.store.used.Load())
	})
}

func TestActionFlush(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		s.put(spec("a"))
		watched, claimed := make(chan error, 1), make(chan []rpw.Claimed, 1)
		go func() {
			_, err := s.Changes(t.Context(), rpw.ChangesRequest{Ref: ref("a"), After: 1, Wait: rpw.Forever})
			watched <- err
		}()
		go func() {
			got, err := s.Claim(t.Context(), rpw.ClaimRequest{Queues: []string{"other"}, Wait: rpw.Forever})
			assert.NoError(t, err)
			claimed <- got
		}()
		synctest.Wait()
		s.flush()
		assert.ErrorIs(t, <-watched, rpw.ErrNotFound)
		assert.Zero(t, s.store.used.Load())
		synctest.Wait()
		sp := spec("b")
		sp.Ref.Queue = "other"
		s.put(sp)
		assert.Len(t, <-claimed, 1, "a claimer goes on waiting")
	})
}

func TestActionUnsupportedFields(t *testing.T) {
	s := newActionTest(t)
	for _, change := range []func(*rpw.ActionSpec){
		func(sp *rpw.ActionSpec) { sp.Priority = 1 },
		func(sp *rpw.ActionSpec) { sp.Concurrency.Max = 1 },
		func(sp *rpw.ActionSpec) { sp.Repeat.Every = time.Second },
		func(sp *rpw.ActionSpec) { sp.After = []rpw.ActionRef{ref("b")} },
	} {
		sp := spec("a")
		change(&sp)
		answers := s.enqueue(spec("x"), sp)
		assert.ErrorIs(t, answers[0].Err, rpw.ErrConflict)
		assert.ErrorIs(t, answers[1].Err, errors.ErrUnsupported)
		assert.ErrorIs(t, s.got("x").Err, rpw.ErrNotFound)
	}
}

// Progress, events, failures and outputs count, are not refused, and are given back with the action.
func TestActionsHoldWhatTheyCameToHold(t *testing.T) {
	const kib = 1 << 10
	for name, moves := range map[string][]rpw.Move{
		"Output":   {{Kind: rpw.Complete, Output: make([]byte, 100*kib)}},
		"Progress": {{Kind: rpw.SetProgress, Data: make([]byte, 100*kib)}, {Kind: rpw.SetProgress, Progress: 0.5}, {Kind: rpw.Complete}},
		"Event":    {{Kind: rpw.AddEvent, Event: "e", Data: make([]byte, 100*kib)}, {Kind: rpw.Complete}},
		"Failure":  {{Kind: rpw.Fail, Failure: rpw.ActionFailure{Message: string(make([]byte, 50*kib)), Stack: string(make([]byte, 50*kib)), Permanent: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Options{MaxBytes: 64 * kib})
			enqueue := func(id string) error {
				answers, err := s.actions.Enqueue(t.Context(), []rpw.ActionSpec{spec(id)})
				require.NoError(t, err)
				return answers[0].Err
			}
			require.NoError(t, enqueue("a"))
			claimed, err := s.actions.Claim(t.Context(), rpw.ClaimRequest{Queues: []string{"q"}})
			require.NoError(t, err)
			for _, move := range moves {
				move.Lease = claimed[0].Lease
				answers, err := s.actions.Advance(t.Context(), rpw.AdvanceRequest{Moves: []rpw.Move{move}})
				require.NoError(t, err)
				require.NoError(t, answers[0].Err)
			}
			assert.InDelta(t, 100*kib, s.Used(), 5*kib)
			assert.ErrorIs(t, enqueue("b"), rpw.ErrFull)
			_, err = s.actions.Control(t.Context(), rpw.ControlRequest{Commands: []rpw.Command{{Kind: rpw.DeleteAction, Ref: ref("a")}}})
			require.NoError(t, err)
			assert.Zero(t, s.Used())
			assert.NoError(t, enqueue("b"))
		})
	}
}
