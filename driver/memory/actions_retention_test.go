package memory

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

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
