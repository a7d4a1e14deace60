package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// watch follows an action from a snapshot to its end, as many pages as it takes, and returns all changes with those of the snapshot.
func (b board) watch(ref rpw.ActionRef) ([]rpw.Change, error) {
	got, err := b.Get(b.Context(), []rpw.ActionRef{ref})
	if err == nil {
		err = got[0].Err
	}
	if err != nil {
		return nil, err
	}
	all := got[0].Events
	seq := got[0].Seq
	for !last(all).State.Terminal() {
		changes, err := b.Changes(b.Context(), rpw.ChangesRequest{Ref: ref, After: seq, Wait: b.patience(), Max: 7})
		if err != nil {
			return all, err
		}
		for _, c := range changes {
			if c.Seq != seq+1 {
				return all, fmt.Errorf("change %d follows %d", c.Seq, seq)
			}
			seq = c.Seq
			all = append(all, c)
		}
	}
	return all, nil
}

func historyCases() []testCase {
	return []testCase{
		{"Actions/Changes/DenseAndResumable", []string{"A10"},
			"Changes are numbered without holes, come in pages, and go on after any number, from any process.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				b.add(job("q", "1"))
				held := b.next("q")
				for i := range 20 {
					b.moved(held.Lease, rpw.Move{Kind: rpw.SetProgress, Progress: float64(i) / 20, Data: json.RawMessage(fmt.Sprint(i))})
				}
				b.moved(held.Lease, rpw.Move{Kind: rpw.Complete})
				all := b.history(held.Ref)
				require.Len(e, all, 23)
				require.Equal(e, uint64(23), b.get(held.Ref).Seq)
				for after := range all {
					changes, err := other.Changes(e.Context(), rpw.ChangesRequest{Ref: held.Ref, After: uint64(after), Max: 5})
					require.NoError(e, err)
					require.Equal(e, all[after:min(after+5, 23)], changes)
				}
				changes, err := other.Changes(e.Context(), rpw.ChangesRequest{Ref: held.Ref, After: 23})
				require.NoError(e, err)
				require.Empty(e, changes)
				for i := 1; i < len(all); i++ {
					require.False(e, all[i].Time.Before(all[i-1].Time))
				}
			}},
		{"Actions/Changes/WaitIsWokenAtOnce", []string{"A10"},
			"Who waits for changes gets each at once, from another process, and nothing twice.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				b.add(job("q", "1"))
				held := b.next("q")
				steps := []struct {
					kind rpw.ChangeKind
					do   func()
				}{
					{rpw.ChangeData, func() { b.moved(held.Lease, rpw.Move{Kind: rpw.SetProgress, Progress: 0.5}) }},
					{rpw.ChangeEvent, func() { b.moved(held.Lease, rpw.Move{Kind: rpw.AddEvent, Event: "e"}) }},
					{rpw.ChangeReleased, func() { b.moved(held.Lease, rpw.Move{Kind: rpw.Giveback}) }},
					{rpw.ChangeClaimed, func() { held = b.next("q") }},
					{rpw.ChangeRetry, func() { b.moved(held.Lease, rpw.Move{Kind: rpw.Fail, RetryIn: time.Hour}) }},
					{rpw.ChangeRescheduled, func() { b.commanded(rpw.Reschedule, held.Ref) }},
					{rpw.ChangeClaimed, func() { held = b.next("q") }},
					{rpw.ChangeCancel, func() { b.commanded(rpw.Cancel, held.Ref) }},
					{rpw.ChangeCancelled, func() { b.moved(held.Lease, rpw.Move{Kind: rpw.AcceptCancel}) }},
				}
				for i, step := range steps {
					waiting := start(func() ([]rpw.Change, error) {
						return other.Changes(e.Context(), rpw.ChangesRequest{Ref: held.Ref, After: uint64(i + 2), Wait: e.patience()})
					})
					e.idle()
					began := time.Now()
					step.do()
					changes, err := await(e, waiting)
					require.NoError(e, err)
					require.Equal(e, []rpw.ChangeKind{step.kind}, kinds(changes))
					require.Equal(e, uint64(i+3), changes[0].Seq)
					e.soon(began)
				}
			}},
		{"Actions/Changes/FinalWaitsForTheEnd", []string{"A10"},
			"Final answers the change to a terminal state only: progress does not end the wait; a finished action answers at once.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				b.add(job("q", "1"))
				final := other.final(job("q", "1").Ref)
				held := b.next("q")
				for range 5 {
					b.moved(held.Lease, rpw.Move{Kind: rpw.SetProgress, Progress: 0.5})
				}
				b.moved(held.Lease, rpw.Move{Kind: rpw.Fail})
				held = b.next("q")
				e.idle()
				require.Empty(e, final)
				began := time.Now()
				b.moved(held.Lease, rpw.Move{Kind: rpw.Complete, Output: json.RawMessage(`42`)})
				change, err := await(e, final)
				require.NoError(e, err)
				e.soon(began)
				require.Equal(e, rpw.ChangeCompleted, change.Kind)
				sameJSON(e, `42`, change.Output)
				changes, err := other.Changes(e.Context(), rpw.ChangesRequest{Ref: held.Ref, Final: true})
				require.NoError(e, err)
				require.Equal(e, []rpw.Change{change}, changes)
			}},
		{"Actions/Changes/OldOnesAreAGap", []string{"A10"},
			"However long the history: the newest 100 changes are in Get and after their numbers; what is no longer kept is a *GapError, never skipped.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				held := b.next("q")
				const n = 1500
				for i := 0; i < n; i += 500 {
					moves := make([]rpw.Move, 500)
					for j := range moves {
						moves[j] = rpw.Move{Lease: held.Lease, Kind: rpw.AddEvent, Event: "e", Data: json.RawMessage(fmt.Sprint(i + j))}
					}
					_, err := b.Advance(e.Context(), rpw.AdvanceRequest{Moves: moves})
					require.NoError(e, err)
				}
				a := b.get(held.Ref)
				require.Equal(e, uint64(n+2), a.Seq)
				require.Len(e, a.Events, 100)
				changes, err := b.Changes(e.Context(), rpw.ChangesRequest{Ref: held.Ref, After: a.Seq - 100})
				require.NoError(e, err)
				require.Equal(e, a.Events, changes)
				for after := uint64(0); after < a.Seq; after += 50 {
					changes, err := b.Changes(e.Context(), rpw.ChangesRequest{Ref: held.Ref, After: after, Max: 1})
					if gap, ok := errors.AsType[*rpw.GapError](err); ok {
						require.NotEmpty(e, gap.Error())
						continue
					}
					require.NoError(e, err)
					require.Equal(e, after+1, changes[0].Seq)
				}
				final := b.final(held.Ref)
				b.moved(held.Lease, rpw.Move{Kind: rpw.Complete})
				change, err := await(e, final)
				require.NoError(e, err, "who waits for the end misses nothing")
				require.Equal(e, rpw.ChangeCompleted, change.Kind)
			}},
		{"Actions/Changes/AheadIsAGap", []string{"A10", "S5"},
			"A number that the action has not reached is of another one that had its id: a *GapError, not an endless wait.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				b.finish("q")
				seq := b.get(job("q", "1").Ref).Seq
				b.commanded(rpw.DeleteAction, job("q", "1").Ref)
				b.add(job("q", "1"))
				for _, req := range []rpw.ChangesRequest{{After: seq}, {After: seq, Wait: rpw.Forever}, {After: seq, Wait: rpw.Forever, Final: true}} {
					req.Ref = job("q", "1").Ref
					_, err := b.Changes(e.promptly(), req)
					e.gap(err)
				}
			}},
		{"Actions/Changes/WatchIsGapless", []string{"A10"},
			"A snapshot and the changes after its number are one sequence without a hole, while other processes go on.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				held := b.next("q")
				var watchers []<-chan answer[[]rpw.Change]
				const n = 60
				for i := range n {
					if i%10 == 5 {
						other := e.boardOf(e.peer())
						watchers = append(watchers, start(func() ([]rpw.Change, error) { return other.watch(held.Ref) }))
					}
					b.moved(held.Lease, rpw.Move{Kind: rpw.SetProgress, Progress: float64(i) / n, Data: json.RawMessage(fmt.Sprint(i))})
				}
				b.moved(held.Lease, rpw.Move{Kind: rpw.Complete, Output: json.RawMessage(`"end"`)})
				want := b.history(held.Ref)
				for _, w := range watchers {
					changes, err := await(e, w)
					require.NoError(e, err)
					require.Equal(e, want, changes)
				}
			}},
		{"Actions/Changes/UnknownIsNotFound", []string{"A10", "E2"},
			"Changes of an action that does not exist are ErrNotFound, also when waiting for them; a wait whose context ends is over at once.", func(e *env) {
				b := e.board()
				for _, req := range []rpw.ChangesRequest{{}, {Wait: e.units(5)}, {Final: true, Wait: e.units(5)}, {After: 10}} {
					req.Ref = job("q", "none").Ref
					_, err := b.Changes(e.Context(), req)
					e.is(err, rpw.ErrNotFound)
				}
				for what, req := range map[string]rpw.ChangesRequest{
					"no ref":        {},
					"negative Wait": {Ref: job("q", "1").Ref, Wait: -1},
					"negative Max":  {Ref: job("q", "1").Ref, Max: -1},
				} {
					_, err := b.Changes(e.Context(), req)
					e.is(err, rpw.ErrInvalid, what)
				}
				b.add(job("q", "1"))
				ctx, cancel := contextFor(e, e.units(5))
				defer cancel()
				began := time.Now()
				_, err := b.Changes(ctx, rpw.ChangesRequest{Ref: job("q", "1").Ref, After: 1, Wait: rpw.Forever})
				require.ErrorIs(e, err, ctx.Err())
				e.soon(began.Add(e.units(5)))
			}},
		{"Actions/Failures/NewestHundred", []string{"A5"},
			"The errors of the newest 100 attempts are kept, however many there were.", func(e *env) {
				b := e.board()
				spec := job("q", "1")
				spec.MaxAttempts = 1000
				b.add(spec)
				const attempts = 120
				for i := 1; i <= attempts; i++ {
					held := b.next("q")
					require.Equal(e, i, held.Attempt)
					b.moved(held.Lease, rpw.Move{Kind: rpw.Fail, Failure: rpw.ActionFailure{Message: fmt.Sprint(i)}})
				}
				failures := b.get(spec.Ref).Failures
				require.Len(e, failures, 100)
				for i, failure := range failures {
					require.Equal(e, fmt.Sprint(attempts-100+1+i), failure.Message)
				}
			}},
	}
}
