package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func raceCases() []testCase {
	return []testCase{
		// F30, A3.
		{"Actions/Race/OneTerminalState", []string{"A3"},
			"However complete, fail, cancel, retry and other claims meet, an action is in one terminal state at a time, and only who brought it there is told nil.", func(e *env) {
				b := e.board()
				boards := []board{b, e.boardOf(e.peer()), e.boardOf(e.peer())}
				for i := range 40 {
					spec := job(fmt.Sprint("q", i), "1")
					spec.MaxAttempts = 2
					b.add(spec)
					held := b.next(spec.Ref.Queue)
					acts := []func(b board) rpw.Advanced{
						func(b board) rpw.Advanced {
							return b.move(held.Lease, rpw.Move{Kind: rpw.Complete, Output: json.RawMessage(`1`)})
						},
						func(b board) rpw.Advanced {
							return b.move(held.Lease, rpw.Move{Kind: rpw.Fail, Failure: rpw.ActionFailure{Permanent: i%2 == 0}})
						},
						func(b board) rpw.Advanced { return b.move(held.Lease, rpw.Move{Kind: rpw.Giveback}) },
						func(b board) rpw.Advanced {
							c := b.command(rpw.Command{Kind: rpw.Cancel, Ref: held.Ref})
							return rpw.Advanced{State: c.State, Err: c.Err}
						},
						func(b board) rpw.Advanced {
							c := b.command(rpw.Command{Kind: rpw.Retry, Ref: held.Ref})
							return rpw.Advanced{State: c.State, Err: c.Err}
						},
					}
					ends := make([]rpw.Advanced, len(acts))
					var wg sync.WaitGroup
					for j, act := range acts {
						wg.Go(func() { ends[j] = act(boards[(i+j)%len(boards)]) })
					}
					wg.Wait()
					changes := b.history(spec.Ref) // lawful
					a := b.get(spec.Ref)
					require.Equal(e, last(changes).State, a.State)
					require.Equal(e, last(changes).Seq, a.Seq)
					holders := 0
					for _, end := range ends[:3] {
						if end.Err == nil {
							holders++
						}
					}
					require.LessOrEqual(e, holders, 1, "the lease was given up in two ways")
					require.Equal(e, ends[0].Err == nil, slices.Contains(kinds(changes), rpw.ChangeCompleted))
					if ends[0].Err == nil {
						require.Equal(e, rpw.Completed, a.State)
					}
				}
			}},
		// F30, A7, A3.
		{"Actions/Race/CancelBeforeClaim", []string{"A7", "A3"},
			"A cancel that answers Cancelled has won: the action was not handed out; one that answers Running is heard by the holder.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				for i := range 60 {
					spec := job("q", fmt.Sprint(i))
					b.add(spec)
					var wg sync.WaitGroup
					var cancel rpw.Controlled
					var claimed []rpw.Claimed
					wg.Go(func() { cancel = other.command(rpw.Command{Kind: rpw.Cancel, Ref: spec.Ref}) })
					wg.Go(func() { claimed = b.take(rpw.ClaimRequest{Queues: []string{"q"}}) })
					wg.Wait()
					require.NoError(e, cancel.Err)
					if cancel.State == rpw.Cancelled {
						require.Empty(e, claimed, "a cancelled action was handed out")
						continue
					}
					require.Equal(e, rpw.Running, cancel.State)
					require.Len(e, claimed, 1)
					require.True(e, b.moved(claimed[0].Lease, rpw.Move{Kind: rpw.Renew}).Cancel)
					b.moved(claimed[0].Lease, rpw.Move{Kind: rpw.AcceptCancel})
				}
				require.Equal(e, int64(60), b.count(rpw.ActionFilter{})[rpw.Cancelled])
			}},
		{"Actions/Race/OneUniqueKey", []string{"A9"},
			"Many processes that enqueue the same unique key at once store one action.", func(e *env) {
				boards := []board{e.board(), e.boardOf(e.peer()), e.boardOf(e.peer())}
				answers := make([]rpw.Enqueued, 30)
				var wg sync.WaitGroup
				for i := range answers {
					spec := job("q", fmt.Sprint(i))
					spec.Unique = "key"
					wg.Go(func() { answers[i] = boards[i%3].offer(spec) })
				}
				wg.Wait()
				created := 0
				for _, answer := range answers {
					require.NoError(e, answer.Err)
					require.Equal(e, answers[0].Ref, answer.Ref)
					if !answer.Existing {
						created++
					}
				}
				require.Equal(e, 1, created)
				require.Equal(e, int64(1), boards[0].count(rpw.ActionFilter{})[rpw.Pending])
			}},
		{"Actions/Race/AllReachTheirEnd", []string{"A1", "A2", "A3", "A4"},
			"Workers that complete, fail, give back, forget and stall bring every action to its end; no two of them hold one at a time.", func(e *env) {
				b := e.board()
				const n, workers = 60, 6
				specs := jobs("q", n)
				for i := range specs {
					specs[i].MaxAttempts = 100
				}
				b.add(specs...)
				ctx, stop := context.WithCancel(e.Context())
				var wg sync.WaitGroup
				defer wg.Wait()
				defer stop()
				for w := range workers {
					other := e.boardOf(e.peer())
					wg.Go(func() { careless(ctx, other, fmt.Sprint(w)) })
				}
				e.eventually(func() bool { return b.count(rpw.ActionFilter{})[rpw.Completed] == n }, "all are completed")
				for _, spec := range specs {
					changes := b.history(spec.Ref)
					require.Equal(e, 1, terminals(changes))
					require.Equal(e, rpw.ChangeCompleted, last(changes).Kind)
				}
			}},
	}
}

// careless is a worker that ends its attempts in every way there is, until ctx ends.
func careless(ctx context.Context, b board, name string) {
	for i := 0; ctx.Err() == nil; i++ {
		claimed, err := b.Claim(ctx, rpw.ClaimRequest{Queues: []string{"q"}, Worker: name, Max: 2, Lease: b.lease(), Wait: b.lease()})
		if err != nil {
			if ctx.Err() == nil {
				b.Errorf("claim: %v", err)
			}
			return
		}
		for j, held := range claimed {
			m := rpw.Move{Lease: held.Lease, Kind: rpw.Complete}
			switch way := (i + j) % 5; {
			case way == 0:
				m.Kind = rpw.Fail
			case way == 1:
				m.Kind = rpw.Giveback
			case way == 2 && held.Attempt <= 2: // later it would only take longer
				continue // forgotten
			}
			if _, err := b.Advance(ctx, rpw.AdvanceRequest{Moves: []rpw.Move{m}}); err != nil && ctx.Err() == nil {
				b.Errorf("advance: %v", err)
			}
		}
	}
}

// repeatCases are about replies that are lost.
func repeatCases() []testCase {
	lane := func(n byte, seq uint64) rpw.Lane { return rpw.Lane{ID: [16]byte{n}, Seq: seq} }
	return []testCase{
		{"Actions/Repeat/Claim", []string{"A1", "A2"},
			"A claim with the lane and number of one that was answered gets the same answer, from any process; a greater number claims anew.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				b.add(jobs("q", 4)...)
				req := rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w", Lane: lane(1, 7), Max: 2}
				first := b.take(req)
				require.Len(e, first, 2)
				for _, again := range [][]rpw.Claimed{b.take(req), other.take(req)} {
					require.Equal(e, []rpw.Lease{first[0].Lease, first[1].Lease}, []rpw.Lease{again[0].Lease, again[1].Lease})
					require.Len(e, again, 2)
					require.Equal(e, first[0].Attempt, again[0].Attempt)
					sameJSON(e, string(first[0].Arg), again[0].Arg)
				}
				require.Equal(e, int64(2), b.count(rpw.ActionFilter{})[rpw.Running])
				req.Lane.Seq++
				require.Equal(e, []string{"002", "003"}, claimedIDs(other.take(req)))
				req.Lane = lane(2, 1)
				require.Empty(e, b.take(req))
			}},
		{"Actions/Repeat/ClaimLeavesOutWhatWasGivenBack", []string{"A2", "A1"},
			"A repeat of a claim does not answer what was handed back since: it is for others, or for the next claim. So a repeat that holds nothing any more does not wait.", func(e *env) {
				b := e.board()
				b.add(jobs("q", 2)...)
				req := rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w", Lane: lane(1, 1), Max: 2}
				first := b.take(req)
				require.Len(e, first, 2)
				for _, c := range first {
					b.moved(c.Lease, rpw.Move{Kind: rpw.Giveback})
				}
				for _, req.Queues = range [][]string{{"q"}, {"q", "other"}} {
					require.Empty(e, e.boardOf(e.peer()).take(req))
					req.Wait = rpw.Forever
					again, err := await(e, start(func() ([]rpw.Claimed, error) { return e.boardOf(e.peer()).Claim(e.Context(), req) }))
					require.NoError(e, err)
					require.Empty(e, again)
					req.Wait = 0
				}
				req.Lane.Seq++
				require.Len(e, b.take(req), 2)
			}},
		{"Actions/Repeat/Advance", []string{"A2", "A3"},
			"Moves with the lane and number of a call that was answered are answered the same and done once.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				held := b.next("q")
				req := rpw.AdvanceRequest{Lane: lane(1, 1), Moves: []rpw.Move{
					{Lease: held.Lease, Kind: rpw.AddEvent, Event: "once"},
					{Lease: held.Lease, Kind: rpw.Fail},
				}}
				first, err := b.Advance(e.Context(), req)
				require.NoError(e, err)
				require.NoError(e, first[1].Err)
				next := b.next("q")
				again, err := e.boardOf(e.peer()).Advance(e.Context(), req)
				require.NoError(e, err)
				require.Equal(e, first, again)
				a := b.get(held.Ref)
				require.Equal(e, rpw.Running, a.State)
				require.Len(e, a.Failures, 1)
				require.Equal(e, []rpw.ChangeKind{rpw.ChangeRequest, rpw.ChangeClaimed, rpw.ChangeEvent, rpw.ChangeRetry, rpw.ChangeClaimed}, kinds(a.Events))
				b.moved(next.Lease, rpw.Move{Kind: rpw.Complete})
			}},
		{"Actions/Repeat/Control", []string{"A3", "A7"},
			"Commands with the lane and number of a call that was answered are answered the same and done once.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				ref := job("q", "1").Ref
				req := rpw.ControlRequest{Lane: lane(1, 1), Commands: []rpw.Command{
					{Kind: rpw.Cancel, Ref: ref}, {Kind: rpw.Pause, Ref: rpw.ActionRef{Queue: "other"}}}}
				first, err := b.Control(e.Context(), req)
				require.NoError(e, err)
				b.commanded(rpw.Retry, ref)
				b.commanded(rpw.Resume, rpw.ActionRef{Queue: "other"})
				again, err := e.boardOf(e.peer()).Control(e.Context(), req)
				require.NoError(e, err)
				require.Equal(e, first, again)
				require.Equal(e, rpw.Pending, b.get(ref).State)
				require.False(e, b.queues()["other"].Paused)
			}},
		// F12, A1, A2, A3, S3.
		{"Actions/Repeat/LostReplies", []string{"A1", "A2", "A3", "S3"},
			"A hub that loses replies repeats: nothing is stored twice, leased to nobody, costs an attempt or is refused to its holder.", func(e *env) {
				hub, faults := e.faulty()
				b, sure := e.boardOf(hub), e.board()
				faults.spoil("Actions.Enqueue", lost, lost)
				answers, err := b.Enqueue(e.Context(), jobs("q", 3))
				require.NoError(e, err)
				for _, answer := range answers {
					require.NoError(e, answer.Err)
				}
				require.Equal(e, int64(3), sure.count(rpw.ActionFilter{})[rpw.Pending])

				unique := job("unique", "1")
				unique.Unique, unique.OnUnique = "key", rpw.UniqueReject
				faults.spoil("Actions.Enqueue", lost)
				require.NoError(e, b.offer(unique).Err, "its own lost enqueue has the key")

				faults.spoil("Actions.Claim", lost, refused, lost)
				held := b.take(rpw.ClaimRequest{Queues: []string{"q"}, Max: 2})
				require.Equal(e, []string{"000", "001"}, claimedIDs(held))
				require.Equal(e, []int{1, 1}, []int{held[0].Attempt, held[1].Attempt})
				require.Equal(e, int64(2), sure.count(rpw.ActionFilter{})[rpw.Running])

				for i, kind := range []rpw.MoveKind{rpw.Complete, rpw.Fail} {
					faults.spoil("Actions.Advance", lost, refused)
					b.moved(held[i].Lease, rpw.Move{Kind: kind})
				}
				require.Len(e, sure.get(held[1].Ref).Failures, 1)
				held[1] = sure.next("q")
				require.Equal(e, "002", held[1].Ref.ID)
				faults.spoil("Actions.Advance", lost)
				b.moved(held[1].Lease, rpw.Move{Kind: rpw.Giveback})
				require.Zero(e, sure.get(held[1].Ref).Attempt)

				faults.spoil("Actions.Control", lost)
				b.commanded(rpw.DeleteAction, held[1].Ref)
				e.is(sure.ask(held[1].Ref).Err, rpw.ErrNotFound)
				require.Zero(e, faults.left(), "a fault was never met")
			}},
		{"Actions/Repeat/LostReplyOfAWait", []string{"A1", "A2"},
			"A waiting claim whose reply is lost gets what it claimed by repeating; no attempt is lost.", func(e *env) {
				hub, faults := e.faulty()
				b, sure := e.boardOf(hub), e.board()
				faults.spoil("Actions.Claim", lost)
				waiting := b.claim(rpw.ClaimRequest{Queues: []string{"q"}})
				sure.add(jobs("q", 1)...)
				held := b.got(waiting, "000")
				require.Equal(e, 1, held[0].Attempt)
				require.Zero(e, faults.left())
				b.moved(held[0].Lease, rpw.Move{Kind: rpw.Complete})
				require.Equal(e, 1, terminals(sure.history(held[0].Ref)))
			}},
	}
}
