package conformance

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func controlCases() []testCase {
	return []testCase{
		{"Actions/Retry/BeginsAgain", []string{"A14", "A5"},
			"A failed or cancelled action that is retried is pending with all its attempts, after the delay, and keeps its history.", func(e *env) {
				b := e.board()
				spec := job("q", "1")
				spec.MaxAttempts = 2
				b.add(spec)
				for range 2 {
					held := b.next("q")
					b.moved(held.Lease, rpw.Move{Kind: rpw.Fail, Failure: rpw.ActionFailure{Message: "no"}})
				}
				require.Equal(e, rpw.Failed, b.get(spec.Ref).State)
				began := time.Now()
				answer := b.command(rpw.Command{Kind: rpw.Retry, Ref: spec.Ref, Delay: e.units(10)})
				require.NoError(e, answer.Err)
				require.Equal(e, rpw.Pending, answer.State)
				a := b.get(spec.Ref)
				require.Equal(e, rpw.Pending, a.State)
				require.Zero(e, a.Attempt)
				require.True(e, a.Finished.IsZero())
				require.Len(e, a.Failures, 2)
				for attempt := 1; attempt <= 2; attempt++ {
					held := b.next("q")
					require.GreaterOrEqual(e, time.Since(began)+time.Millisecond, e.units(10))
					require.Equal(e, attempt, held.Attempt)
					b.moved(held.Lease, rpw.Move{Kind: rpw.Fail})
				}
				b.history(spec.Ref)

				cancelled := job("r", "1")
				b.add(cancelled)
				b.commanded(rpw.Cancel, cancelled.Ref)
				b.commanded(rpw.Retry, cancelled.Ref)
				a = b.get(cancelled.Ref)
				require.Equal(e, rpw.Pending, a.State)
				require.True(e, a.CancelAt.IsZero(), "the old cancel request is no more")
				held := b.next("r")
				require.False(e, b.moved(held.Lease, rpw.Move{Kind: rpw.Renew}).Cancel)
				b.moved(held.Lease, rpw.Move{Kind: rpw.Complete})
				require.Equal(e, rpw.Completed, b.get(cancelled.Ref).State)
			}},
		{"Actions/Delete/RemovesAllOfIt", []string{"A14"},
			"A pending or terminal action can be deleted: Get, Changes, List and Count know it no more, and its id is free; a running one is ErrConflict.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				delayed := job("q", "delayed")
				delayed.Delay = e.units(5)
				b.add(delayed, job("q", "1"))
				held := b.next("q")
				e.is(b.command(rpw.Command{Kind: rpw.DeleteAction, Ref: held.Ref}).Err, rpw.ErrConflict)
				watching := start(func() ([]rpw.Change, error) {
					return other.Changes(e.Context(), rpw.ChangesRequest{Ref: delayed.Ref, After: 1, Wait: e.patience()})
				})
				final := other.final(delayed.Ref)
				b.commanded(rpw.DeleteAction, delayed.Ref)
				_, err := await(e, watching)
				e.is(err, rpw.ErrNotFound, "who watches a deleted action is told")
				_, err = await(e, final)
				e.is(err, rpw.ErrNotFound)
				b.moved(held.Lease, rpw.Move{Kind: rpw.Complete})
				b.commanded(rpw.DeleteAction, held.Ref)
				for _, ref := range []rpw.ActionRef{held.Ref, delayed.Ref} {
					e.is(other.ask(ref).Err, rpw.ErrNotFound)
					_, err := b.Changes(e.Context(), rpw.ChangesRequest{Ref: ref})
					e.is(err, rpw.ErrNotFound)
					e.is(b.command(rpw.Command{Kind: rpw.DeleteAction, Ref: ref}).Err, rpw.ErrNotFound)
				}
				e.pass(delayed.Delay)
				b.none("q", "it was deleted")
				require.Empty(e, b.queues())
				again := job("q", "1")
				again.Name = "other"
				b.add(again)
				a := b.get(again.Ref)
				require.Equal(e, []any{"other", rpw.Pending, 0, uint64(1)}, []any{a.Name, a.State, a.Attempt, a.Seq})
			}},
		{"Actions/Reschedule/MovesThePending", []string{"A6", "A9"},
			"A pending action can be given another time, sooner or later; a running one is ErrConflict, a terminal one ErrFinished.", func(e *env) {
				b := e.board()
				soon, late, at := job("soon", "1"), job("late", "1"), job("at", "1")
				soon.Delay = time.Hour
				b.add(soon, late, at)
				began := time.Now()
				for _, c := range []rpw.Command{
					{Kind: rpw.Reschedule, Ref: soon.Ref, Delay: e.units(40)},
					{Kind: rpw.Reschedule, Ref: late.Ref, Delay: e.units(40)},
					{Kind: rpw.Reschedule, Ref: at.Ref, RunAt: b.get(at.Ref).Created.Add(e.units(40))},
				} {
					answer := b.command(c)
					require.NoError(e, answer.Err)
					require.Equal(e, rpw.Pending, answer.State)
				}
				b.none("late", "it was put off")
				for _, queue := range []string{"soon", "late", "at"} {
					held := b.next(queue)
					require.False(e, held.Started.Before(held.RunAt), "early")
					if queue != "at" {
						require.GreaterOrEqual(e, time.Since(began)+time.Millisecond, e.units(40))
					}
					require.Contains(e, kinds(b.history(held.Ref)), rpw.ChangeRescheduled)
					e.is(b.command(rpw.Command{Kind: rpw.Reschedule, Ref: held.Ref}).Err, rpw.ErrConflict)
					b.moved(held.Lease, rpw.Move{Kind: rpw.Complete})
					e.is(b.command(rpw.Command{Kind: rpw.Reschedule, Ref: held.Ref}).Err, rpw.ErrFinished)
				}
			}},
		{"Actions/Control/Receipts", []string{"A7", "A14", "E2"},
			"Each command is answered for itself: unknown is ErrNotFound, too late is ErrFinished, not possible now is ErrConflict.", func(e *env) {
				b := e.board()
				b.add(jobs("done", 1)...)
				b.finish("done")
				b.add(jobs("held", 1)...)
				b.next("held")
				b.add(jobs("pending", 2)...)
				ref := func(queue, id string) rpw.ActionRef { return rpw.ActionRef{Queue: queue, ID: id} }
				answers, err := b.Control(e.Context(), rpw.ControlRequest{Commands: []rpw.Command{
					{Kind: rpw.Cancel, Ref: ref("done", "000")},
					{Kind: rpw.Cancel, Ref: ref("none", "000")},
					{Kind: rpw.Cancel, Ref: ref("pending", "000")},
					{Kind: rpw.Cancel, Ref: ref("pending", "000")},
					{Kind: rpw.Retry, Ref: ref("done", "000")},
					{Kind: rpw.Retry, Ref: ref("held", "000")},
					{Kind: rpw.Retry, Ref: ref("pending", "001")},
					{Kind: rpw.Retry, Ref: ref("pending", "none")},
					{Kind: rpw.Reschedule, Ref: ref("none", "000")},
					{Kind: rpw.Pause, Ref: ref("pending", "")},
				}})
				require.NoError(e, err)
				want := []error{rpw.ErrFinished, rpw.ErrNotFound, nil, nil, rpw.ErrFinished, rpw.ErrConflict, rpw.ErrConflict, rpw.ErrNotFound, rpw.ErrNotFound, nil}
				require.Len(e, answers, len(want))
				for i, answer := range answers {
					require.Equalf(e, rpw.Code(want[i]), rpw.Code(answer.Err), "command %d: %v", i, answer.Err)
				}
				require.Equal(e, rpw.Cancelled, answers[2].State)
				require.True(e, b.queues()["pending"].Paused)
			}},
		{"Actions/Control/BadInput", []string{"E2"},
			"A command that can never work is ErrInvalid or ErrTooLarge on every driver, and none of its call is done.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				ref := job("q", "1").Ref
				for what, c := range map[string]struct {
					command rpw.Command
					kind    error
				}{
					"no kind":          {rpw.Command{Ref: ref}, rpw.ErrInvalid},
					"unknown kind":     {rpw.Command{Kind: 99, Ref: ref}, rpw.ErrInvalid},
					"no id":            {rpw.Command{Kind: rpw.Cancel, Ref: rpw.ActionRef{Queue: "q"}}, rpw.ErrInvalid},
					"pause of an id":   {rpw.Command{Kind: rpw.Pause, Ref: ref}, rpw.ErrInvalid},
					"long reason":      {rpw.Command{Kind: rpw.Cancel, Ref: ref, Reason: text(16<<10 + 1)}, rpw.ErrTooLarge},
					"delay and run-at": {rpw.Command{Kind: rpw.Reschedule, Ref: ref, Delay: 1, RunAt: time.Now()}, rpw.ErrInvalid},
					"negative delay":   {rpw.Command{Kind: rpw.Retry, Ref: ref, Delay: -1}, rpw.ErrInvalid},
					"endless run-at":   {rpw.Command{Kind: rpw.Reschedule, Ref: ref, RunAt: time.Now().Add(3 * rpw.MaxDelay)}, rpw.ErrInvalid},
					"run-at long ago":  {rpw.Command{Kind: rpw.Reschedule, Ref: ref, RunAt: time.Unix(-1, 0)}, rpw.ErrInvalid},
					"endless delay":    {rpw.Command{Kind: rpw.Reschedule, Ref: ref, Delay: rpw.MaxDelay + 1}, rpw.ErrInvalid},
					"run-at of old":    {rpw.Command{Kind: rpw.Reschedule, Ref: ref, RunAt: time.UnixMilli(-1)}, rpw.ErrInvalid},
					"run-at far ahead": {rpw.Command{Kind: rpw.Reschedule, Ref: ref, RunAt: time.Now().Add(3 * rpw.MaxDelay / 2).Add(rpw.MaxDelay)}, rpw.ErrInvalid},
				} {
					_, err := b.Control(e.Context(), rpw.ControlRequest{Commands: []rpw.Command{{Kind: rpw.Cancel, Ref: ref}, c.command}})
					e.is(err, c.kind, what)
				}
				_, err := b.Control(e.Context(), rpw.ControlRequest{})
				e.is(err, rpw.ErrInvalid)
				_, err = b.Control(e.Context(), rpw.ControlRequest{Commands: make([]rpw.Command, rpw.MaxBatch+1)})
				e.is(err, rpw.ErrTooLarge)
				require.Equal(e, rpw.Pending, b.get(ref).State)
			}},
	}
}

func cancelCases() []testCase {
	return []testCase{
		{"Actions/Cancel/PendingNeverRuns", []string{"A7"},
			"A pending action is cancelled at once, from any process, with its reason, and never handed out.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				delayed := job("q", "delayed")
				delayed.Delay = e.units(5)
				b.add(job("q", "ready"), delayed, job("q", "retrying"))
				for _, id := range []string{"ready", "retrying"} { // ready becomes the one that waits for another attempt
					held := b.next("q")
					require.Equal(e, id, held.Ref.ID)
					b.moved(held.Lease, rpw.Move{Kind: rpw.Fail, RetryIn: e.units(5)})
				}
				for _, id := range []string{"ready", "delayed", "retrying"} {
					ref := rpw.ActionRef{Queue: "q", ID: id}
					answer := other.command(rpw.Command{Kind: rpw.Cancel, Ref: ref, Reason: "not wanted: " + id})
					require.NoError(e, answer.Err)
					require.Equal(e, rpw.Cancelled, answer.State)
					a := b.get(ref)
					require.Equal(e, rpw.Cancelled, a.State)
					require.Equal(e, "not wanted: "+id, a.Failure.Message)
					require.False(e, a.CancelAt.IsZero() || a.Finished.IsZero())
					require.Equal(e, rpw.ChangeCancelled, last(a.Events).Kind)
					require.NoError(e, b.command(rpw.Command{Kind: rpw.Cancel, Ref: ref, Reason: "again"}).Err)
					require.Equal(e, 1, terminals(b.history(ref)))
				}
				e.pass(e.units(5))
				b.none("q", "all are cancelled")
			}},
		{"Actions/Cancel/RunningIsTold", []string{"A7"},
			"Who runs an action that is to be cancelled hears of it with each move; when he accepts, it is cancelled.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				b.add(job("q", "1"))
				held := b.next("q")
				require.False(e, b.moved(held.Lease, rpw.Move{Kind: rpw.SetProgress, Progress: 0.1}).Cancel)
				answer := other.command(rpw.Command{Kind: rpw.Cancel, Ref: held.Ref, Reason: "stop it"})
				require.NoError(e, answer.Err)
				require.Equal(e, rpw.Running, answer.State, "it was only requested")
				require.NoError(e, other.command(rpw.Command{Kind: rpw.Cancel, Ref: held.Ref}).Err)
				a := b.get(held.Ref)
				require.Equal(e, rpw.Running, a.State)
				require.False(e, a.CancelAt.IsZero())
				require.True(e, b.moved(held.Lease, rpw.Move{Kind: rpw.SetProgress, Progress: 0.2}).Cancel)
				require.True(e, b.moved(held.Lease, rpw.Move{Kind: rpw.Renew}).Cancel)
				accepted := b.moved(held.Lease, rpw.Move{Kind: rpw.AcceptCancel})
				require.Equal(e, rpw.Cancelled, accepted.State)
				b.moved(held.Lease, rpw.Move{Kind: rpw.AcceptCancel})
				a = b.get(held.Ref)
				require.Equal(e, rpw.Cancelled, a.State)
				require.Equal(e, "stop it", a.Failure.Message)
				require.Equal(e, 1, terminals(b.history(held.Ref)))
				b.none("q", "it is cancelled")
			}},
		{"Actions/Cancel/ResultsAreRefused", []string{"A7", "A3"},
			"Complete and Fail after a cancel was requested end the action as cancelled and answer ErrCancelled; handed back it does not run again.", func(e *env) {
				b := e.board()
				for name, m := range map[string]rpw.Move{
					"complete": {Kind: rpw.Complete, Output: []byte(`1`)},
					"fail":     {Kind: rpw.Fail, Failure: rpw.ActionFailure{Message: "no"}},
					"spoilt":   {Kind: rpw.Fail, Failure: rpw.ActionFailure{Permanent: true}},
				} {
					b.add(job("q", name))
					held := b.next("q")
					b.commanded(rpw.Cancel, held.Ref)
					e.is(b.move(held.Lease, m).Err, rpw.ErrCancelled, name)
					e.is(b.move(held.Lease, m).Err, rpw.ErrCancelled, "repeated: "+name)
					a := b.get(held.Ref)
					require.Equal(e, rpw.Cancelled, a.State)
					require.Empty(e, a.Output)
					require.Equal(e, 1, terminals(b.history(held.Ref)))
				}
				b.add(job("q", "giveback"))
				held := b.next("q")
				b.commanded(rpw.Cancel, held.Ref)
				b.moved(held.Lease, rpw.Move{Kind: rpw.Giveback})
				require.Equal(e, rpw.Cancelled, b.get(held.Ref).State)
				b.none("q", "all are cancelled")
			}},
		{"Actions/Cancel/EndsAfterTheGrace", []string{"A7", "A3"},
			"A holder who does not acknowledge is fenced off after the grace, however he renews, and without any worker alive.", func(e *env) {
				b := e.board()
				spec := job("q", "1")
				spec.CancelGrace = 2 * e.lease()
				silent := spec
				silent.Ref.Queue = "silent"
				b.add(spec, silent)
				held := b.next("q")
				b.next("silent")
				final := e.boardOf(e.peer()).final(spec.Ref)
				b.commanded(rpw.Cancel, silent.Ref)
				b.commanded(rpw.Cancel, spec.Ref)
				b.moved(held.Lease, rpw.Move{Kind: rpw.Renew, For: time.Hour})
				b.moved(held.Lease, rpw.Move{Kind: rpw.SetProgress, Progress: 0.5})
				require.Equal(e, rpw.Running, b.get(spec.Ref).State, "the grace was not given")
				change, err := await(e, final)
				require.NoError(e, err)
				require.Equal(e, rpw.ChangeCancelled, change.Kind)
				a := b.state(spec.Ref, rpw.Cancelled)
				require.False(e, a.Finished.Before(a.CancelAt.Add(spec.CancelGrace-time.Millisecond)), "before the grace was over")
				for name, m := range allMoves() {
					require.Error(e, b.move(held.Lease, m).Err, name)
				}
				require.Equal(e, a, b.get(spec.Ref))
				require.Equal(e, rpw.Cancelled, b.get(silent.Ref).State)
			}},
		{"Actions/Cancel/EndsWithALostWorker", []string{"A7", "A1"},
			"An action whose cancel was requested does not run again when its worker is lost: it is cancelled, by the end of its grace at the latest.", func(e *env) {
				b := e.board()
				spec := job("q", "1")
				spec.CancelGrace = 3 * e.lease()
				b.add(spec)
				b.nextFor("q", e.lease())
				b.commanded(rpw.Cancel, spec.Ref)
				for state := rpw.Running; state == rpw.Running; state = b.get(spec.Ref).State {
					b.none("q", "it is to be cancelled")
					time.Sleep(e.unit)
				}
				require.Equal(e, rpw.Cancelled, b.get(spec.Ref).State)
				require.Equal(e, []rpw.ChangeKind{rpw.ChangeRequest, rpw.ChangeClaimed, rpw.ChangeCancel, rpw.ChangeCancelled}, kinds(b.history(spec.Ref)))
			}},
	}
}
