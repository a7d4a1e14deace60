package conformance

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func wakeCases() []testCase {
	q := []string{"q"}
	return []testCase{
		{"Actions/Wake/NewWorkAtOnce", []string{"A6"},
			"A waiting claim gets a new action at once, from another process too, in any of its queues.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				for _, queue := range []string{"a", "b", "c"} {
					waiting := b.claim(rpw.ClaimRequest{Queues: []string{"a", "b", "c"}})
					began := time.Now()
					other.add(job(queue, "1"))
					claimed := b.got(waiting, "1")
					e.soon(began)
					require.Equal(e, queue, claimed[0].Ref.Queue)
				}
			}},
		{"Actions/Wake/WhenDue", []string{"A6"},
			"A waiting claim gets a delayed action when it is due: never early, and soon.", func(e *env) {
				b := e.board()
				waiting := b.claim(rpw.ClaimRequest{Queues: q})
				far, near := job("q", "far"), job("q", "near")
				far.Delay, near.Delay = e.units(40), e.units(20)
				b.add(far)
				began := time.Now()
				b.add(near) // nearer than what the claim waits for
				b.got(waiting, "near")
				require.GreaterOrEqual(e, time.Since(began)+time.Millisecond, near.Delay, "early")
				e.soon(began.Add(near.Delay))
				require.Equal(e, "far", b.next("q").Ref.ID)
			}},
		{"Actions/Wake/WhenALeaseEnds", []string{"A4"},
			"A waiting claim gets an action when the lease of its silent holder ends.", func(e *env) {
				b := e.board()
				b.add(job("q", "1"))
				held := b.nextFor("q", e.lease())
				began := time.Now()
				claimed := b.got(b.claim(rpw.ClaimRequest{Queues: q}), "1")
				require.False(e, claimed[0].Started.Before(held.Until.Truncate(time.Millisecond)), "early")
				e.soon(began.Add(e.lease()))
			}},
		{"Actions/Wake/WhenALeaseGetsShorter", []string{"A4", "A6"},
			"A waiting claim is not late when a holder renews for a shorter time than it had.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				b.add(job("q", "1"))
				held := b.next("q")
				waiting := other.claim(rpw.ClaimRequest{Queues: q})
				began := time.Now()
				b.moved(held.Lease, rpw.Move{Kind: rpw.Renew, For: e.lease()})
				b.got(waiting, "1")
				e.soon(began.Add(e.lease()))
			}},
		{"Actions/Wake/OnWhatComesBack", []string{"A6", "A5", "A11"},
			"A waiting claim gets what a holder gave back or failed, and what was retried, rescheduled or resumed, at once.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				wakes := func(do func()) rpw.Claimed {
					e.Helper()
					waiting := b.claim(rpw.ClaimRequest{Queues: q})
					began := time.Now()
					do()
					claimed := b.got(waiting, "1")
					e.soon(began)
					return claimed[0]
				}
				b.add(job("q", "1"))
				held := b.next("q")
				held = wakes(func() { other.moved(held.Lease, rpw.Move{Kind: rpw.Giveback}) })
				held = wakes(func() { other.moved(held.Lease, rpw.Move{Kind: rpw.Fail}) })
				b.moved(held.Lease, rpw.Move{Kind: rpw.Fail, Failure: rpw.ActionFailure{Permanent: true}})
				held = wakes(func() { other.commanded(rpw.Retry, held.Ref) })
				b.moved(held.Lease, rpw.Move{Kind: rpw.Fail, RetryIn: time.Hour})
				held = wakes(func() { other.commanded(rpw.Reschedule, held.Ref) })
				paused := rpw.ActionRef{Queue: "q"}
				b.commanded(rpw.Pause, paused)
				b.moved(held.Lease, rpw.Move{Kind: rpw.Giveback})
				wakes(func() { other.commanded(rpw.Resume, paused) })
			}},
		{"Actions/Wake/OneActionOneClaimer", []string{"A2", "A6"},
			"Of several waiting claimers one gets a new action; the others keep waiting and get the next ones.", func(e *env) {
				boards := []board{e.board(), e.boardOf(e.peer())}
				const claimers = 6
				woken := make(chan answer[[]rpw.Claimed], claimers)
				var wg sync.WaitGroup
				defer wg.Wait()
				for i := range claimers {
					b := boards[i%len(boards)]
					wg.Go(func() {
						claimed, err := b.await(rpw.ClaimRequest{Queues: q, Worker: fmt.Sprint(i)}, e.patience())
						woken <- answer[[]rpw.Claimed]{claimed, err}
					})
				}
				e.idle()
				for i := range claimers {
					id := fmt.Sprint(i)
					began := time.Now()
					boards[i%len(boards)].add(job("q", id))
					boards[0].got(woken, id)
					e.soon(began)
					e.idle()
					require.Empty(e, woken, "another claim ended with nothing to do")
				}
			}},
		{"Actions/Wake/ManyActionsManyClaimers", []string{"A6", "A13"},
			"A batch of new actions wakes as many claimers as it has work for.", func(e *env) {
				boards := []board{e.board(), e.boardOf(e.peer())}
				const n = 8
				var waiting []<-chan answer[[]rpw.Claimed]
				for i := range n {
					waiting = append(waiting, boards[i%2].claim(rpw.ClaimRequest{Queues: q, Worker: fmt.Sprint(i)}))
				}
				began := time.Now()
				boards[0].add(jobs("q", n)...)
				var got []string
				for _, w := range waiting {
					claimed, err := await(e, w)
					require.NoError(e, err)
					got = append(got, claimedIDs(claimed)...)
				}
				e.soon(began)
				slices.Sort(got)
				require.Len(e, slices.Compact(got), n)
			}},
		{"Actions/Wake/BusyClaimersHideNoWork", []string{"A6"},
			"A claimer that waits at several queues and is served by one does not keep the others' work from those who wait there.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				both := b.claim(rpw.ClaimRequest{Queues: []string{"x", "y"}, Worker: "both"})
				onlyY := other.claim(rpw.ClaimRequest{Queues: []string{"y"}, Worker: "y"})
				began := time.Now()
				b.add(job("x", "x1"), job("y", "y1"))
				b.got(both, "x1")
				b.got(onlyY, "y1")
				e.soon(began)
			}},
		{"Actions/Wake/WhoLeavesTakesNothingAlong", []string{"E1", "A1"},
			"A claim whose context ends returns at once, and an action that arrives then is not lost.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				claim := func(queue string) leaver[[]rpw.Claimed] {
					return startLeaver(e, func(ctx context.Context) ([]rpw.Claimed, error) {
						return b.Claim(ctx, rpw.ClaimRequest{Queues: []string{queue}, Worker: "w", Lease: e.lease(), Wait: rpw.Forever})
					})
				}
				claimer := claim("q")
				queue := func(i int) string { return fmt.Sprint("race", i) }
				var claimers []leaver[[]rpw.Claimed]
				for i := range 10 {
					claimers = append(claimers, claim(queue(i)))
				}
				e.idle()
				began := time.Now()
				claimer.leave()
				_, err := await(e, claimer.left)
				require.ErrorIs(e, err, context.Canceled)
				e.soon(began)
				for i := range 20 { // leaving and arriving meet in every order, also with the beginning
					if i >= len(claimers) {
						claimers = append(claimers, claim(queue(i)))
					}
					var wg sync.WaitGroup
					wg.Go(claimers[i].leave)
					other.add(job(queue(i), "1"))
					claimed, err := await(e, claimers[i].left)
					wg.Wait()
					if err != nil {
						require.ErrorIs(e, err, context.Canceled)
						claimed = []rpw.Claimed{other.next(queue(i))} // at the latest when the lease that nobody got ends
					}
					require.Equal(e, []string{"1"}, claimedIDs(claimed))
					other.moved(claimed[0].Lease, rpw.Move{Kind: rpw.Complete})
				}
			}},
		{"Actions/Wake/WhoLeavesPassesTheCallOn", []string{"A6", "E1"},
			"When the context of a waiting claim ends just as work arrives, another waiting claim gets that work at once.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				queue := func(i int) string { return fmt.Sprint("q", i) }
				leaving, staying := make([]leaver[[]rpw.Claimed], 20), make([]<-chan answer[[]rpw.Claimed], 20)
				for i := range leaving {
					leaving[i] = startLeaver(e, func(ctx context.Context) ([]rpw.Claimed, error) {
						return b.Claim(ctx, rpw.ClaimRequest{Queues: []string{queue(i)}, Worker: "w", Wait: rpw.Forever})
					})
				}
				e.idle()
				for i := range staying {
					staying[i] = start(func() ([]rpw.Claimed, error) {
						return other.await(rpw.ClaimRequest{Queues: []string{queue(i)}, Worker: "worker"}, 2*e.patience())
					})
				}
				e.idle()
				for i := range leaving {
					leaving[i].leave()
					b.add(job(queue(i), "1"))
					began := time.Now()
					left, err := await(e, leaving[i].left)
					if err != nil {
						require.ErrorIs(e, err, context.Canceled)
					} else { // it was quicker than its end
						require.Len(e, left, 1)
						b.add(job(queue(i), "again"))
					}
					got, err := await(e, staying[i])
					require.NoError(e, err)
					require.Len(e, got, 1)
					e.soon(began)
				}
			}},
		{"Actions/Wake/WhoLeavesHandsBackWhatHeWasGiven", []string{"A6", "E1"},
			"When the context of a claim ends before the reply comes, another claim gets at once what the store had leased, without the cost of an attempt.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				b.add(job("q", "1"))
				h, faults := e.faulty()
				faults.spoil("Actions.Claim", unheard)
				ctx, cancel := context.WithCancel(e.Context())
				leaving := start(func() ([]rpw.Claimed, error) {
					return h.Actions().Claim(ctx, rpw.ClaimRequest{Queues: []string{"q"}, Worker: "leaving", Lease: rpw.MaxLease, Wait: rpw.Forever})
				})
				e.eventually(func() bool { return b.get(job("q", "1").Ref).State == rpw.Running }, "the store leases the action")
				staying := other.claim(rpw.ClaimRequest{Queues: []string{"q"}})
				began := time.Now()
				cancel()
				_, err := await(e, leaving)
				require.ErrorIs(e, err, context.Canceled)
				got, err := await(e, staying)
				require.NoError(e, err)
				require.Equal(e, []string{"1"}, claimedIDs(got))
				require.Equal(e, 1, got[0].Attempt)
				e.soon(began)
			}},
		{"Actions/Wake/NothingIsNoError", []string{"E1"},
			"A claim that found nothing in its time is empty, and not late.", func(e *env) {
				b := e.board()
				began := time.Now()
				claimed, err := b.await(rpw.ClaimRequest{Queues: []string{"a", "b"}, Worker: "w"}, e.units(20))
				require.NoError(e, err)
				require.Empty(e, claimed)
				e.soon(began.Add(e.units(20)))
			}},
		{"Actions/Wake/ClosingEndsTheWait", []string{"E1"},
			"Closing a hub ends its waits with ErrClosed, and takes no action along.", func(e *env) {
				b, leaving := e.board(), e.peer()
				waiting := e.boardOf(leaving).claim(rpw.ClaimRequest{Queues: q})
				began := time.Now()
				require.NoError(e, leaving.Close())
				_, err := await(e, waiting)
				e.is(err, rpw.ErrClosed)
				e.soon(began)
				b.add(job("q", "1"))
				require.Equal(e, 1, b.next("q").Attempt)
			}},
		{"Actions/Pause/HandsOutNothing", []string{"A11"},
			"A paused queue hands out nothing, also what becomes due meanwhile; what runs goes on, and other queues are not touched.", func(e *env) {
				b, other := e.board(), e.boardOf(e.peer())
				paused := rpw.ActionRef{Queue: "q"}
				b.add(job("q", "1"), job("other", "1"))
				held := b.next("q")
				b.commanded(rpw.Pause, paused)
				b.commanded(rpw.Pause, paused)
				late := job("q", "2")
				late.Delay = e.units(5)
				b.add(late, job("q", "3"))
				waiting := other.claim(rpw.ClaimRequest{Queues: q, Max: 10})
				e.pass(late.Delay)
				b.none("q", "it is paused")
				require.Empty(e, waiting)
				require.Equal(e, "1", b.next("other").Ref.ID)
				b.moved(held.Lease, rpw.Move{Kind: rpw.SetProgress, Progress: 0.5})
				b.moved(held.Lease, rpw.Move{Kind: rpw.Complete})
				queues := other.queues()
				require.Len(e, queues, 2)
				require.False(e, queues["other"].Paused)
				require.True(e, queues["q"].Paused)
				require.Equal(e, int64(2), queues["q"].Ready)

				began := time.Now()
				b.commanded(rpw.Resume, paused)
				b.got(waiting, "3", "2")
				e.soon(began)
			}},
		{"Actions/Pause/OfAnEmptyQueue", []string{"A11", "A14"},
			"A queue can be paused before it has anything, is listed then, and is gone when resumed.", func(e *env) {
				b := e.board()
				paused := rpw.ActionRef{Queue: "q"}
				b.commanded(rpw.Resume, paused)
				b.commanded(rpw.Pause, paused)
				require.Equal(e, map[string]rpw.QueueInfo{"q": {Name: "q", Paused: true}}, b.queues())
				b.add(job("q", "1"))
				b.none("q", "it was paused before")
				b.commanded(rpw.DeleteAction, job("q", "1").Ref)
				b.commanded(rpw.Resume, paused)
				require.Empty(e, b.queues())
			}},
	}
}
