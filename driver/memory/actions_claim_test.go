package memory

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// waitClaim claims in the background and hands the answer over.
func (s actionTest) waitClaim(ctx context.Context, req rpw.ClaimRequest) <-chan []rpw.Claimed {
	if req.Queues == nil {
		req.Queues = []string{"q"}
	}
	answer := make(chan []rpw.Claimed, 1)
	go func() {
		claimed, err := s.Claim(ctx, req)
		if ctx.Err() == nil {
			assert.NoError(s.t, err)
		}
		answer <- claimed
	}()
	return answer
}

// watching is how many claimers wait at a queue.
func (s actionTest) watching(name string) int {
	q := s.open(name, true)
	defer q.close()
	return len(q.waiting) + q.coming
}

func TestClaimWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		began := time.Now()
		assert.Empty(t, s.take(rpw.ClaimRequest{Wait: time.Minute}))
		assert.Equal(t, time.Minute, time.Since(began))
		assert.Empty(t, s.names(), "nothing is left of it")

		ctx, cancel := context.WithCancel(t.Context())
		answer := s.waitClaim(ctx, rpw.ClaimRequest{Wait: rpw.Forever})
		synctest.Wait()
		cancel()
		assert.Empty(t, <-answer)
		assert.Empty(t, s.names())
	})
}

// TestClaimWakesForTime: what time makes ready is claimed at that moment, by one of the idle claimers.
func TestClaimWakesForTime(t *testing.T) {
	delayed, rescheduled := spec("a"), spec("a")
	delayed.Delay = time.Hour
	rescheduled.Delay = time.Hour
	for name, c := range map[string]struct {
		prepare func(s actionTest)
		after   func(s actionTest) // when the claimers wait
		due     time.Duration
	}{
		"delayed before":    {func(s actionTest) { s.put(delayed) }, func(actionTest) {}, time.Hour},
		"delayed meanwhile": {func(actionTest) {}, func(s actionTest) { s.put(delayed) }, time.Hour},
		"lease lapses":      {func(s actionTest) { s.put(spec("a")); s.takeOne() }, func(actionTest) {}, rpw.DefaultLease},
		"rescheduled": {func(s actionTest) { s.put(rescheduled) }, func(s actionTest) {
			s.command(rpw.Command{Kind: rpw.Reschedule, Ref: ref("a"), Delay: time.Minute})
		}, time.Minute},
		"given back": {func(s actionTest) { s.put(spec("a")) }, func(s actionTest) {
			l := s.takeOne().Lease
			s.move(rpw.Move{Lease: l, Kind: rpw.Giveback, RetryIn: time.Second})
		}, time.Second},
		"renewed for less": {func(s actionTest) { s.put(spec("a")) }, func(s actionTest) {
			l := s.takeOne().Lease
			s.move(rpw.Move{Lease: l, Kind: rpw.Renew, For: time.Second})
		}, time.Second},
		"resumed": {func(s actionTest) { s.put(spec("a")); s.command(rpw.Command{Kind: rpw.Pause, Ref: ref("")}) }, func(s actionTest) {
			time.Sleep(time.Minute)
			s.command(rpw.Command{Kind: rpw.Resume, Ref: ref("")})
		}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s actionTest) {
				ctx, cancel := context.WithCancel(t.Context())
				began := time.Now()
				c.prepare(s)
				if name == "given back" || name == "renewed for less" {
					c.after(s) // no claimer may take it before
				}
				answers := make(chan []rpw.Claimed, 5)
				var wg sync.WaitGroup
				for range 5 {
					wg.Go(func() { answers <- <-s.waitClaim(ctx, rpw.ClaimRequest{Wait: rpw.Forever}) })
				}
				synctest.Wait()
				if name != "given back" && name != "renewed for less" {
					c.after(s)
				}
				assert.Len(t, <-answers, 1)
				assert.Equal(t, c.due, time.Since(began))
				synctest.Wait()
				assert.Empty(t, answers)
				cancel()
				wg.Wait()
			})
		})
	}
}

func TestClaimOneWakesOne(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		ctx, cancel := context.WithCancel(t.Context())
		var answers []<-chan []rpw.Claimed
		for range 100 {
			answers = append(answers, s.waitClaim(ctx, rpw.ClaimRequest{Wait: rpw.Forever, Max: 1, Worker: "w"}))
			synctest.Wait() // in this order
		}
		for i := range 50 {
			q := s.open("q", true)
			in := intake{queue: q}
			for j := range 1 + i%2 {
				sp := spec(fmt.Sprint("a", i, "-", j))
				_, err := in.admit(&sp)
				require.NoError(t, err)
			}
			in.apply()
			q.call()
			assert.Equal(t, 1+i%2, q.coming, "no herd")
			q.close()
			synctest.Wait()
		}
		got := 0
		for i, answer := range answers[:75] {
			require.Len(t, answer, 1, "claimer %d: who waits longest is first", i)
			got += len(<-answer)
		}
		assert.Equal(t, 75, got)
		assert.Equal(t, 25, s.watching("q"))
		cancel()
		for _, answer := range answers[75:] {
			assert.Empty(t, <-answer)
		}
	})
}

// TestClaimPassesTheCallOn: a claimer that was called and has no need any more lets the next one have it.
func TestClaimPassesTheCallOn(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		for range 50 {
			ctx, cancel := context.WithCancel(t.Context())
			leaving := s.waitClaim(ctx, rpw.ClaimRequest{Queues: []string{"q", "r"}, Wait: rpw.Forever})
			synctest.Wait()
			staying := s.waitClaim(t.Context(), rpw.ClaimRequest{Wait: rpw.Forever})
			synctest.Wait()
			s.put(spec("a")) // calls the first
			cancel()         // which may see this instead
			claimed := <-leaving
			if len(claimed) == 0 {
				claimed = <-staying
			} else {
				require.NoError(t, s.move(rpw.Move{Lease: claimed[0].Lease, Kind: rpw.Giveback}).Err)
				claimed = <-staying
			}
			require.Len(t, claimed, 1)
			require.NoError(t, s.move(rpw.Move{Lease: claimed[0].Lease, Kind: rpw.Complete}).Err)
			s.command(rpw.Command{Kind: rpw.DeleteAction, Ref: ref("a")})
		}
	})
}

func TestClaimSeveralQueues(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		in := func(queue, id string) rpw.ActionSpec {
			sp := spec(id)
			sp.Ref.Queue = queue
			return sp
		}
		s.put(in("low", "l1"), in("low", "l2"), in("high", "h1"))
		claimed := s.take(rpw.ClaimRequest{Queues: []string{"high", "low"}, Max: 2})
		require.Len(t, claimed, 2)
		assert.Equal(t, "high/h1", claimed[0].Ref.String())
		assert.Equal(t, "low/l1", claimed[1].Ref.String())
		s.command(rpw.Command{Kind: rpw.Pause, Ref: rpw.ActionRef{Queue: "low"}})
		assert.Empty(t, s.take(rpw.ClaimRequest{Queues: []string{"high", "low"}}), "paused")

		// one claimer is called by both queues, the other one must not miss its action
		first := s.waitClaim(t.Context(), rpw.ClaimRequest{Queues: []string{"x", "y"}, Wait: rpw.Forever})
		synctest.Wait()
		second := s.waitClaim(t.Context(), rpw.ClaimRequest{Queues: []string{"y"}, Wait: rpw.Forever})
		synctest.Wait()
		s.put(in("y", "1"), in("x", "2"))
		assert.Len(t, <-first, 1)
		assert.Len(t, <-second, 1)
	})
}

// TestClaimNothingIsLost lets many claimers with random waits take from several queues while actions come in.
func TestClaimNothingIsLost(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		const actions, claimers = 2000, 20
		queues := []string{"a", "b", "c"}
		ctx, cancel := context.WithCancel(t.Context())
		var done atomic.Int64
		var wg sync.WaitGroup
		for i := range claimers {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(1, uint64(i)))
				for ctx.Err() == nil {
					wait := time.Duration(rnd.Int64N(int64(10 * time.Millisecond)))
					if i%2 == 0 {
						wait = rpw.Forever
					}
					from := rnd.IntN(len(queues))
					claimed, _ := s.Claim(ctx, rpw.ClaimRequest{Queues: queues[from:], Max: 1 + rnd.IntN(4), Wait: wait, Worker: "w", Lease: rpw.MinLease})
					for _, c := range claimed {
						switch move := (rpw.Move{Lease: c.Lease, Kind: rpw.Complete}); rnd.IntN(10) {
						case 0: // it is lost with its worker
							continue
						case 1:
							move.Kind = rpw.Giveback
							s.move(move)
						default:
							assert.NoError(t, s.move(move).Err)
							done.Add(1)
						}
					}
				}
			})
		}
		for i := range actions {
			sp := spec(fmt.Sprint("a", i))
			sp.Ref.Queue = queues[i%len(queues)]
			sp.MaxAttempts = 100
			sp.Delay = time.Duration(i%7) * time.Millisecond
			s.put(sp)
			if i%100 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(10 * time.Second)
		cancel()
		wg.Wait()
		assert.Equal(t, int64(actions), done.Load())
		s.check()
	})
}

// TestActionRaces lets many try to end the same actions: each has exactly one end.
func TestActionRaces(t *testing.T) {
	s := newActionTest(t)
	const actions = 300
	for i := range actions {
		s.put(spec(fmt.Sprint("a", i)))
	}
	var completed, cancelled atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				claimed := s.take(rpw.ClaimRequest{Max: 3})
				if len(claimed) == 0 {
					return
				}
				for _, c := range claimed {
					for range 2 { // both answer alike
						adv := s.move(rpw.Move{Lease: c.Lease, Kind: rpw.Complete})
						if adv.Err != nil {
							assert.ErrorIs(t, adv.Err, rpw.ErrCancelled)
							assert.Equal(t, rpw.Cancelled, adv.State)
						} else {
							completed.Add(1)
						}
					}
				}
			}
		})
		wg.Go(func() {
			for i := range actions {
				answer := s.command(rpw.Command{Kind: rpw.Cancel, Ref: ref(fmt.Sprint("a", i))})
				if answer.Err != nil {
					assert.ErrorIs(t, answer.Err, rpw.ErrFinished)
					assert.Equal(t, rpw.Completed, answer.State)
				}
			}
		})
		wg.Go(func() {
			for i := range actions {
				changes, err := s.Changes(t.Context(), rpw.ChangesRequest{Ref: ref(fmt.Sprint("a", i)), Final: true, Wait: rpw.Forever})
				assert.NoError(t, err)
				assert.Len(t, changes, 1)
				if changes[0].Kind == rpw.ChangeCancelled {
					cancelled.Add(1)
				}
			}
		})
	}
	wg.Wait()
	counts, err := s.Count(t.Context(), rpw.ActionFilter{})
	require.NoError(t, err)
	assert.Equal(t, int64(actions), counts[rpw.Completed]+counts[rpw.Cancelled])
	assert.Equal(t, 2*counts[rpw.Completed], completed.Load())
	assert.Equal(t, 4*counts[rpw.Cancelled], cancelled.Load())
	for i := range actions {
		ends := 0
		for _, c := range s.got(fmt.Sprint("a", i)).Events {
			if c.State.Terminal() {
				ends++
			}
		}
		assert.Equal(t, 1, ends)
	}
	s.check()
}

// A repeat that overtakes its call, which still waits, gets what the call gets: nothing is leased to nobody.
func TestATwinOfAWaitingClaimTakesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		type answer struct {
			claimed []rpw.Claimed
			err     error
		}
		answers := make(chan answer, 2)
		claim := func(seq uint64) {
			go func() {
				claimed, err := s.Claim(t.Context(), rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w", Wait: rpw.Forever, Lane: lane(1, seq)})
				answers <- answer{claimed, err}
			}()
			synctest.Wait()
		}
		claim(1)
		claim(1)
		s.put(spec("a"), spec("b"))
		first, second := <-answers, <-answers
		require.NoError(t, cmp.Or(first.err, second.err))
		require.Len(t, first.claimed, 1)
		assert.Equal(t, first.claimed, second.claimed)

		s.put(spec("c"))
		claim(2)
		require.Len(t, (<-answers).claimed, 1)
		claim(3)
		require.Len(t, (<-answers).claimed, 1)
		claim(4)
		claim(5) // the sender has given up 4
		assert.ErrorIs(t, (<-answers).err, rpw.ErrConflict)
		s.put(spec("d"))
		fifth := <-answers
		require.NoError(t, fifth.err)
		require.Len(t, fifth.claimed, 1)
	})
}

// Callers write into the slice of answers: names out of a namespace, errors with more to them. A repeat gets it as it was.
func TestARepeatGetsTheAnswerAsItWas(t *testing.T) {
	inBubble(t, func(t *testing.T, s actionTest) {
		s.put(spec("a"))
		claim := rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w", Lane: lane(1, 1)}
		advance := rpw.AdvanceRequest{Lane: lane(1, 1), Moves: []rpw.Move{{Kind: rpw.Complete, Lease: rpw.Lease{Ref: ref("none")}}}}
		control := rpw.ControlRequest{Lane: lane(1, 1), Commands: []rpw.Command{{Kind: rpw.Cancel, Ref: ref("none")}}}
		for range 3 {
			claimed, err := s.Claim(t.Context(), claim)
			require.NoError(t, err)
			require.Equal(t, ref("a"), claimed[0].Lease.Ref)
			claimed[0].Lease.Ref.Queue = "other"
			advanced, err := s.Advance(t.Context(), advance)
			require.NoError(t, err)
			require.ErrorIs(t, advanced[0].Err, rpw.ErrNotFound)
			advanced[0].Err = nil
			controlled, err := s.Control(t.Context(), control)
			require.NoError(t, err)
			require.ErrorIs(t, controlled[0].Err, rpw.ErrNotFound)
			controlled[0].Err = nil
		}
	})
}

// TestFlushWhileClaimersWait: claimers move from the queue that is dropped to the new one, while others still have the old one in hand. Nobody is
// left at a queue who does not wait there.
func TestFlushWhileClaimersWait(t *testing.T) {
	store := New(Options{})
	ctx, stop := context.WithCancel(t.Context())
	var claimers sync.WaitGroup
	for range 4 {
		claimers.Go(func() {
			for ctx.Err() == nil {
				store.actions.Claim(ctx, rpw.ClaimRequest{Queues: []string{"q"}, Max: 1, Lease: time.Minute, Wait: rpw.Forever})
			}
		})
	}
	for i := range 2000 {
		spec := rpw.ActionSpec{Ref: rpw.ActionRef{Queue: "q", ID: fmt.Sprint(i)}, Name: "n"}
		_, err := store.actions.Enqueue(ctx, []rpw.ActionSpec{spec})
		require.NoError(t, err)
		if i%2 == 0 {
			store.Flush()
		}
	}
	stop()
	claimers.Wait()
	q := store.actions.open("q", true)
	defer q.close()
	assert.Empty(t, q.waiting)
	assert.Zero(t, q.coming)
}
