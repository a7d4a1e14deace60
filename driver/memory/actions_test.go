package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

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
