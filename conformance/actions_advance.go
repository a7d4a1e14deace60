package conformance

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func advanceCases() []testCase {
	return []testCase{
		{"Actions/Advance/Complete", []string{"A1", "A3", "A10"},
			"A completed action has its output and its time, in Get, in the event and in the change.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				held := b.next("q")
				answer := b.moved(held.Lease, rpw.Move{Kind: rpw.Complete, Output: json.RawMessage(`{"n": 9007199254740993}`)})
				require.Equal(e, rpw.Completed, answer.State)
				a := e.boardOf(e.peer()).get(held.Ref)
				require.Equal(e, rpw.Completed, a.State)
				sameJSON(e, `{"n": 9007199254740993}`, a.Output)
				require.False(e, a.Finished.Before(a.Started))
				require.Nil(e, a.Failure)
				require.Equal(e, "worker", a.Worker)
				done := last(b.history(held.Ref))
				require.Equal(e, rpw.ChangeCompleted, done.Kind)
				sameJSON(e, `{"n": 9007199254740993}`, done.Output)
				require.Equal(e, done, last(a.Events))
				b.none("q", "it is completed")
			}},
		{"Actions/Advance/RepeatedEndIsNil", []string{"A3"},
			"Repeating an applied terminal move with the same lease is nil and changes nothing; another end is refused.", func(e *env) {
				b := e.board()
				b.add(jobs("q", 2)...)
				held := b.next("q")
				complete := rpw.Move{Kind: rpw.Complete, Output: json.RawMessage(`1`)}
				b.moved(held.Lease, complete)
				before := b.get(held.Ref)
				b.moved(held.Lease, complete)
				e.boardOf(e.peer()).moved(held.Lease, complete)
				e.is(b.move(held.Lease, rpw.Move{Kind: rpw.Fail}).Err, rpw.ErrFinished)
				require.Error(e, b.move(held.Lease, rpw.Move{Kind: rpw.Renew}).Err)
				require.Error(e, b.move(held.Lease, rpw.Move{Kind: rpw.SetProgress, Progress: 0.1}).Err)
				require.Equal(e, before, b.get(held.Ref))

				held = b.next("q")
				fail := rpw.Move{Kind: rpw.Fail, Failure: rpw.ActionFailure{Message: "no", Permanent: true}}
				b.moved(held.Lease, fail)
				b.moved(held.Lease, fail)
				e.is(b.move(held.Lease, complete).Err, rpw.ErrFinished)
				require.Len(e, b.get(held.Ref).Failures, 1)
			}},
		{"Actions/Advance/RenewKeepsTheLease", []string{"A2", "A4"},
			"A renewed lease does not lapse, as long as it is renewed; Renew says when it ends, as claimed or as asked.", func(e *env) {
				b, rival := e.board(), e.boardOf(e.peer())
				b.add(job("q", "1"))
				held := b.nextFor("q", 2*e.lease())
				waiting := rival.claim(rpw.ClaimRequest{Queues: []string{"q"}})
				for range 5 { // longer than the lease it began with
					time.Sleep(e.lease() / 2)
					answer := b.moved(held.Lease, rpw.Move{Kind: rpw.Renew})
					require.Equal(e, rpw.Running, answer.State)
					require.False(e, answer.Cancel)
					require.False(e, answer.Until.Before(held.Until))
					require.WithinDuration(e, answer.Until, b.get(held.Ref).Until, time.Millisecond)
				}
				require.Empty(e, waiting, "it was taken from a live holder")
				answer := b.moved(held.Lease, rpw.Move{Kind: rpw.Renew, For: time.Hour})
				require.Greater(e, answer.Until.Sub(held.Until), 30*time.Minute)
				b.moved(held.Lease, rpw.Move{Kind: rpw.Complete})
				require.Equal(e, rpw.Completed, b.get(held.Ref).State)
				require.Equal(e, []rpw.ChangeKind{rpw.ChangeRequest, rpw.ChangeClaimed, rpw.ChangeCompleted}, kinds(b.history(held.Ref)), "renewals are no changes")
			}},
		{"Actions/Advance/Progress", []string{"A10", "A2"},
			"Progress and data are set apart, seen by all, noted as changes, and renew the lease.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				spec := job("q", "1")
				spec.Data = json.RawMessage(`"first"`)
				b.add(spec)
				held := b.nextFor("q", 2*e.lease())
				set := func(progress float64, data string, wantProgress float64, wantData string) {
					e.Helper()
					m := rpw.Move{Kind: rpw.SetProgress, Progress: progress}
					if data != "" {
						m.Data = json.RawMessage(data)
					}
					time.Sleep(e.lease() / 2)
					answer := b.moved(held.Lease, m)
					require.Equal(e, rpw.Running, answer.State)
					require.False(e, answer.Until.IsZero())
					a := other.get(held.Ref)
					require.InDelta(e, wantProgress, a.Progress, 1e-9)
					sameJSON(e, wantData, a.Data)
					change := last(b.history(held.Ref))
					require.Equal(e, rpw.ChangeData, change.Kind)
					require.InDelta(e, wantProgress, change.Progress, 1e-9)
				}
				set(0.25, "", 0.25, `"first"`)
				set(-1, `{"rows": 3}`, 0.25, `{"rows": 3}`)
				set(1, `null`, 1, `null`)
				set(0, "", 0, `null`)
				set(0.5, `[]`, 0.5, `[]`)
				b.moved(held.Lease, rpw.Move{Kind: rpw.Complete})
			}},
		{"Actions/Advance/OwnEvents", []string{"A10"},
			"A handler's own events are in the history, with their data, in order.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				held := b.next("q")
				for _, name := range []string{"opened", "complete", "completed", "opened"} { // no name means anything to the store
					b.moved(held.Lease, rpw.Move{Kind: rpw.AddEvent, Event: name, Data: json.RawMessage(`{"of":"` + name + `"}`)})
				}
				events := b.get(held.Ref).Events[2:]
				require.Len(e, events, 4)
				require.Equal(e, "complete", events[1].Event)
				for _, event := range events {
					require.Equal(e, rpw.ChangeEvent, event.Kind)
					require.Equal(e, rpw.Running, event.State)
					sameJSON(e, `{"of":"`+event.Event+`"}`, event.Data)
				}
				require.Equal(e, rpw.Running, b.get(held.Ref).State)
			}},
		{"Actions/Advance/FailIsTriedAgain", []string{"A5"},
			"A failed attempt is followed by another one after RetryIn, never early, until none is left; each error is kept.", func(e *env) {
				b := e.board()
				spec := job("q", "1")
				spec.MaxAttempts = 3
				b.add(spec)
				for i, retryIn := range []time.Duration{e.units(40), e.unit, time.Hour} {
					attempt := i + 1
					held := b.next("q")
					require.Equal(e, attempt, held.Attempt)
					require.Len(e, held.Failures, attempt-1)
					message := strings.Repeat("no ", attempt)
					answer := b.moved(held.Lease, rpw.Move{Kind: rpw.Fail, RetryIn: retryIn, Failure: rpw.ActionFailure{Message: message, Stack: "here"}})
					a := b.get(spec.Ref)
					require.Equal(e, answer.State, a.State)
					require.NotNil(e, a.Failure)
					require.Equal(e, message, a.Failure.Message)
					failure := last(a.Failures)
					require.Equal(e, []any{message, attempt, "worker", "here", false}, []any{failure.Message, failure.Attempt, failure.Worker, failure.Stack, failure.Permanent})
					require.False(e, failure.Time.IsZero())
					if attempt == 3 {
						require.Equal(e, rpw.Failed, a.State)
						require.False(e, a.Finished.IsZero())
						break
					}
					require.Equal(e, rpw.Pending, a.State)
					require.True(e, a.Finished.IsZero())
					if attempt == 1 {
						b.none("q", "the next attempt is not due")
					}
				}
				b.none("q", "no attempt is left")
				require.Equal(e, []rpw.ChangeKind{rpw.ChangeRequest, rpw.ChangeClaimed, rpw.ChangeRetry, rpw.ChangeClaimed, rpw.ChangeRetry,
					rpw.ChangeClaimed, rpw.ChangeFailed}, kinds(b.history(spec.Ref)))
			}},
		{"Actions/Advance/RetryIsNeverEarly", []string{"A5", "A6"},
			"The next attempt begins when RetryIn has passed, not before and soon after.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				held := b.next("q")
				began := time.Now()
				b.moved(held.Lease, rpw.Move{Kind: rpw.Fail, RetryIn: e.units(20)})
				again := b.next("q")
				require.GreaterOrEqual(e, time.Since(began)+time.Millisecond, e.units(20))
				e.soon(began.Add(e.units(20)))
				require.False(e, again.Started.Before(again.RunAt))
			}},
		{"Actions/Advance/PermanentFails", []string{"A5"},
			"A permanent failure ends the action, however many attempts are left.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				held := b.spoil("q")
				a := b.get(held.Ref)
				require.Equal(e, rpw.Failed, a.State)
				require.Equal(e, 1, a.Attempt)
				require.True(e, a.Failure.Permanent)
				change := last(a.Events)
				require.Equal(e, rpw.ChangeFailed, change.Kind)
				require.Equal(e, "spoilt", change.Failure.Message)
			}},
		{"Actions/Advance/GivebackCostsNothing", []string{"A5", "A4"},
			"What is handed back untouched is pending again after RetryIn, and the attempt does not count, however often.", func(e *env) {
				b := e.board()
				spec := job("q", "1")
				spec.MaxAttempts = 1
				b.add(spec)
				for range 3 {
					held := b.next("q")
					require.Equal(e, 1, held.Attempt)
					answer := b.moved(held.Lease, rpw.Move{Kind: rpw.Giveback})
					require.Equal(e, rpw.Pending, answer.State)
					a := b.get(spec.Ref)
					require.Zero(e, a.Attempt)
					require.Empty(e, a.Failures)
					require.Equal(e, rpw.ChangeReleased, last(a.Events).Kind)
				}
				held := b.next("q")
				began := time.Now()
				b.moved(held.Lease, rpw.Move{Kind: rpw.Giveback, RetryIn: e.units(10)})
				b.next("q")
				require.GreaterOrEqual(e, time.Since(began)+time.Millisecond, e.units(10))
			}},
		{"Actions/Advance/LostOnTheLastAttempt", []string{"A1", "A3", "A4"},
			"An action whose worker is lost on its last attempt fails, seen and waited for without any worker.", func(e *env) {
				b := e.board()
				for _, queue := range []string{"got", "waited", "listed", "claimed"} {
					spec := job(queue, "1")
					spec.MaxAttempts = 1
					b.add(spec)
					b.nextFor(queue, e.lease())
				}
				final := b.final(job("waited", "1").Ref)
				a := b.state(job("got", "1").Ref, rpw.Failed)
				require.NotEmpty(e, a.Failure.Message)
				require.Equal(e, 1, a.Attempt)
				require.False(e, a.Finished.IsZero())
				require.Len(e, a.Failures, 1)
				change, err := await(e, final)
				require.NoError(e, err)
				require.Equal(e, rpw.ChangeFailed, change.Kind)
				require.Equal(e, rpw.Failed, change.State)
				e.eventually(func() bool { return b.count(rpw.ActionFilter{Queues: []string{"listed"}})[rpw.Failed] == 1 }, "it is counted as failed")
				b.none("claimed", "it has no attempt left")
				require.Equal(e, 1, terminals(b.history(a.Ref)))
			}},
		{"Actions/Advance/EachMoveForItself", []string{"A2", "A13", "E2"},
			"The moves of one call are answered one by one: a refused one spoils no other; an unknown action is ErrNotFound.", func(e *env) {
				b := e.board()
				b.add(append(jobs("a", 3), jobs("b", 1)...)...)
				held := b.take(rpw.ClaimRequest{Queues: []string{"a", "b"}, Max: 4})
				stale := held[1].Lease
				stale.Token--
				answers, err := b.Advance(e.Context(), rpw.AdvanceRequest{Moves: []rpw.Move{
					{Lease: held[0].Lease, Kind: rpw.SetProgress, Progress: 0.5},
					{Lease: stale, Kind: rpw.Complete},
					{Lease: rpw.Lease{Ref: rpw.ActionRef{Queue: "a", ID: "none"}, Token: 1}, Kind: rpw.Complete},
					{Lease: held[3].Lease, Kind: rpw.Complete},
					{Lease: rpw.Lease{Ref: rpw.ActionRef{Queue: "none", ID: "none"}, Token: 1}, Kind: rpw.Renew},
					{Lease: held[0].Lease, Kind: rpw.Complete},
					{Lease: held[2].Lease, Kind: rpw.Giveback},
				}})
				require.NoError(e, err)
				require.Len(e, answers, 7)
				require.NoError(e, answers[0].Err)
				e.is(answers[1].Err, rpw.ErrLeaseLost)
				e.is(answers[2].Err, rpw.ErrNotFound)
				require.NoError(e, answers[3].Err)
				e.is(answers[4].Err, rpw.ErrNotFound)
				require.NoError(e, answers[5].Err)
				require.NoError(e, answers[6].Err)
				require.Equal(e, rpw.Running, b.get(held[1].Ref).State)
				require.Equal(e, rpw.Completed, b.get(held[0].Ref).State)
				require.Equal(e, rpw.Completed, b.get(held[3].Ref).State)
				require.Equal(e, rpw.Pending, b.get(held[2].Ref).State)
			}},
		{"Actions/Advance/LongTextsAreCut", []string{"A5"},
			"An error text and a stack of any size are kept up to 16 KiB, cut between characters and marked.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				held := b.next("q")
				huge := strings.Repeat("é", 8<<20)
				b.moved(held.Lease, rpw.Move{Kind: rpw.Fail, Failure: rpw.ActionFailure{Message: "x" + huge, Stack: huge, Permanent: true}})
				failure := b.get(held.Ref).Failure
				for _, text := range []string{failure.Message, failure.Stack} {
					require.LessOrEqual(e, len(text), 16<<10)
					require.Greater(e, len(text), 15<<10)
					require.True(e, utf8.ValidString(text), "cut within a character")
				}
			}},
		{"Actions/Advance/BadInput", []string{"E2"},
			"A move that can never work is ErrInvalid or ErrTooLarge on every driver, and does nothing, nor do others of its call.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				held := b.next("q")
				before := b.get(held.Ref)
				for what, c := range map[string]struct {
					move rpw.Move
					kind error
				}{
					"no kind":          {rpw.Move{}, rpw.ErrInvalid},
					"unknown kind":     {rpw.Move{Kind: 99}, rpw.ErrInvalid},
					"big output":       {rpw.Move{Kind: rpw.Complete, Output: jsonText(rpw.MaxPayload + 1)}, rpw.ErrTooLarge},
					"broken output":    {rpw.Move{Kind: rpw.Complete, Output: json.RawMessage(`{`)}, rpw.ErrInvalid},
					"big data":         {rpw.Move{Kind: rpw.SetProgress, Data: jsonText(rpw.MaxPayload + 1)}, rpw.ErrTooLarge},
					"broken data":      {rpw.Move{Kind: rpw.SetProgress, Data: json.RawMessage(`a`)}, rpw.ErrInvalid},
					"too much":         {rpw.Move{Kind: rpw.SetProgress, Progress: 1.01}, rpw.ErrInvalid},
					"not a number":     {rpw.Move{Kind: rpw.SetProgress, Progress: math.NaN()}, rpw.ErrInvalid},
					"infinity":         {rpw.Move{Kind: rpw.SetProgress, Progress: math.Inf(1)}, rpw.ErrInvalid},
					"event's name":     {rpw.Move{Kind: rpw.AddEvent, Event: ""}, rpw.ErrInvalid},
					"event's data":     {rpw.Move{Kind: rpw.AddEvent, Event: "a", Data: json.RawMessage(`1 2`)}, rpw.ErrInvalid},
					"short lease":      {rpw.Move{Kind: rpw.Renew, For: rpw.MinLease - 1}, rpw.ErrInvalid},
					"long lease":       {rpw.Move{Kind: rpw.Renew, For: rpw.MaxLease + 1}, rpw.ErrInvalid},
					"negative retry":   {rpw.Move{Kind: rpw.Fail, RetryIn: -1}, rpw.ErrInvalid},
					"endless giveback": {rpw.Move{Kind: rpw.Giveback, RetryIn: rpw.MaxDelay + 1}, rpw.ErrInvalid},
				} {
					c.move.Lease = held.Lease
					_, err := b.Advance(e.Context(), rpw.AdvanceRequest{Moves: []rpw.Move{{Lease: held.Lease, Kind: rpw.Complete}, c.move}})
					e.is(err, c.kind, what)
				}
				_, err := b.Advance(e.Context(), rpw.AdvanceRequest{})
				e.is(err, rpw.ErrInvalid)
				_, err = b.Advance(e.Context(), rpw.AdvanceRequest{Moves: make([]rpw.Move, rpw.MaxBatch+1)})
				e.is(err, rpw.ErrTooLarge)
				require.Equal(e, before, b.get(held.Ref))
				b.moved(held.Lease, rpw.Move{Kind: rpw.Complete, Output: jsonText(rpw.MaxPayload)})
				require.Len(e, b.get(held.Ref).Output, rpw.MaxPayload)
			}},
	}
}

// allMoves are one move of each kind.
func allMoves() map[string]rpw.Move {
	return map[string]rpw.Move{
		"Renew":       {Kind: rpw.Renew},
		"SetProgress": {Kind: rpw.SetProgress, Progress: 0.9, Data: json.RawMessage(`"zombie"`)},
		"AddEvent":    {Kind: rpw.AddEvent, Event: "zombie"},
		"Complete":    {Kind: rpw.Complete, Output: json.RawMessage(`"zombie"`)},
		"Fail":        {Kind: rpw.Fail, Failure: rpw.ActionFailure{Message: "zombie"}},
		"Giveback":    {Kind: rpw.Giveback},
	}
}

func fenceCases() []testCase {
	// fenced says that a lease does nothing any more. Only the repeat of the move that gave it up may be nil.
	fenced := func(e *env, stale rpw.Lease, ended ...rpw.MoveKind) {
		e.Helper()
		b := e.board()
		before := b.get(stale.Ref)
		for name, m := range allMoves() {
			if answer := b.move(stale, m); answer.Err != nil || !slices.Contains(ended, m.Kind) {
				e.is(answer.Err, rpw.ErrLeaseLost, name)
			}
			require.Equalf(e, before, b.get(stale.Ref), "%s of a superseded holder changed something", name)
		}
	}
	return []testCase{
		{"Actions/Fence/AfterTheLease", []string{"A2"},
			"The holder of a lapsed lease gets ErrLeaseLost and changes nothing, also before anybody took the action.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				held := b.nextFor("q", e.lease())
				b.state(held.Ref, rpw.Pending)
				fenced(e, held.Lease)
			}},
		{"Actions/Fence/WhileAnotherHolds", []string{"A2"},
			"A superseded holder gets ErrLeaseLost and changes nothing while another one holds the action, and after that one has ended it.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				zombie := b.nextFor("q", e.lease())
				held := e.boardOf(e.peer()).next("q")
				fenced(e, zombie.Lease)
				b.moved(held.Lease, rpw.Move{Kind: rpw.Complete, Output: json.RawMessage(`"good"`)})
				fenced(e, zombie.Lease)
				sameJSON(e, `"good"`, b.get(held.Ref).Output)
			}},
		{"Actions/Fence/AfterGivingUp", []string{"A2"},
			"Who failed or gave back an action holds it no more: the next holder is safe from the former.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				first := b.next("q")
				b.moved(first.Lease, rpw.Move{Kind: rpw.Giveback})
				e.is(b.move(first.Lease, rpw.Move{Kind: rpw.Complete}).Err, rpw.ErrLeaseLost)
				second := b.next("q")
				fenced(e, first.Lease, rpw.Giveback)
				b.moved(second.Lease, rpw.Move{Kind: rpw.Fail})
				third := b.next("q")
				fenced(e, first.Lease, rpw.Giveback)
				fenced(e, second.Lease, rpw.Fail)
				b.moved(third.Lease, rpw.Move{Kind: rpw.Complete})
			}},
		{"Actions/Fence/AfterTheIDWasUsedAgain", []string{"A2", "A14"},
			"A lease of a deleted action is worth nothing for another action that has its id.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				zombie := b.nextFor("q", e.lease())
				b.finish("q")
				b.commanded(rpw.DeleteAction, zombie.Ref)
				e.is(b.move(zombie.Lease, rpw.Move{Kind: rpw.Complete}).Err, rpw.ErrNotFound)
				time.Sleep(e.unit)
				b.add(job("q", "1"))
				held := b.next("q")
				require.Equal(e, 1, held.Attempt)
				require.Greater(e, held.Lease.Token, zombie.Lease.Token)
				fenced(e, zombie.Lease)
			}},
		{"Actions/Fence/ForgedTokens", []string{"A2"},
			"A token that was never given, smaller or greater, holds nothing.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				held := b.next("q")
				for _, token := range []uint64{0, 1, held.Lease.Token - 1, held.Lease.Token + 1, math.MaxUint64} {
					fenced(e, rpw.Lease{Ref: held.Ref, Token: token})
				}
				b.moved(held.Lease, rpw.Move{Kind: rpw.Complete})
			}},
	}
}
