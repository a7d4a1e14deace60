package redis

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// TestActionsLeaveNoTraces: A14: what is removed leaves nothing in the history's hash, also what the same script has written there.
func TestActionsLeaveNoTraces(t *testing.T) {
	t.Parallel()
	fields := func(t *testing.T, a *actionStore) int64 {
		n := do(t, a.client, "HLEN", a.keys.queue("q").side("h"))
		return number(&n)
	}
	t.Run("EndedAndOutlivedAtOnce", func(t *testing.T) {
		a := testStore(t).actions()
		specs := actionSpecs(2)
		for i := range specs {
			specs[i].MaxAttempts, specs[i].Keep.Failed = 1, time.Millisecond
		}
		mustEnqueue(t, a, specs...)
		held, err := a.Claim(t.Context(), rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w", Max: 2, Lease: 100 * time.Millisecond})
		require.NoError(t, err)
		require.Len(t, held, 2)
		time.Sleep(time.Until(held[1].Until) + 50*time.Millisecond)
		got, err := a.Get(t.Context(), []rpw.ActionRef{specs[0].Ref, specs[1].Ref})
		require.NoError(t, err)
		for i := range got {
			require.ErrorIs(t, got[i].Err, rpw.ErrNotFound)
		}
		assert.Zero(t, fields(t, a))
	})
	t.Run("CancelledAndDeletedInOneCall", func(t *testing.T) {
		a := testStore(t).actions()
		specs := actionSpecs(1)
		mustEnqueue(t, a, specs...)
		answers, err := a.Control(t.Context(), rpw.ControlRequest{Commands: []rpw.Command{
			{Kind: rpw.Cancel, Ref: specs[0].Ref, Reason: strings.Repeat("x", 2000)},
			{Kind: rpw.DeleteAction, Ref: specs[0].Ref},
		}})
		require.NoError(t, err)
		for _, answer := range answers {
			require.NoError(t, answer.Err)
		}
		assert.Zero(t, fields(t, a))
	})
}

// TestAPartThatIsLostHoldsUpNothing: A1, F24: a server that may drop keys drops one of a queue: what is enqueued after that runs, and who waits does
// not ask again and again.
func TestAPartThatIsLostHoldsUpNothing(t *testing.T) {
	for _, part := range queueParts {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			a := testStore(t).actions()
			specs := actionSpecs(3)
			specs[2].Unique = "k"
			mustEnqueue(t, a, specs...)
			failed := mustClaim(t, a, 1)
			require.Len(t, failed, 1)
			_, err := a.Advance(t.Context(), rpw.AdvanceRequest{Moves: []rpw.Move{{Kind: rpw.Fail, Lease: failed[0].Lease}}})
			require.NoError(t, err)
			do(t, a.client, "DEL", a.keys.queue("q").side(part))
			fresh := actionSpecs(4)[3:]
			mustEnqueue(t, a, fresh...)
			found, empty := false, 0
			for range 10 {
				began := time.Now()
				claimed, err := a.Claim(t.Context(), rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w", Wait: 20 * time.Millisecond})
				require.NoError(t, err)
				if len(claimed) == 0 {
					empty++
					assert.Less(t, time.Since(began), 5*time.Second)
				}
				for _, c := range claimed {
					found = found || c.Ref == fresh[0].Ref
				}
			}
			assert.Positive(t, empty)
			assert.True(t, found)
		})
	}
}

// TestALostPartIsFoundAgain: A1, F24: a server that may drop keys drops what a queue's records tell as well. All its actions run, nothing but calls that wait
// for them being made, and it is told how many they are.
func TestALostPartIsFoundAgain(t *testing.T) {
	for _, part := range []string{"q", "i", "ready", "due", "run"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			a := testStore(t).actions()
			specs := actionSpecs(5)
			specs[1].MaxAttempts = 2
			specs[2].Delay = 500 * time.Millisecond
			specs[3].Unique = "k"
			mustEnqueue(t, a, specs...)
			claim := func(most int, lease time.Duration) []rpw.Claimed {
				claimed, err := a.Claim(t.Context(), rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w", Max: most, Lease: lease, Wait: 10 * time.Second})
				require.NoError(t, err)
				return claimed
			}
			settle := func(kind rpw.MoveKind, c rpw.Claimed) {
				answers, err := a.Advance(t.Context(), rpw.AdvanceRequest{Moves: []rpw.Move{{Kind: kind, Lease: c.Lease}}})
				require.NoError(t, err)
				require.NoError(t, answers[0].Err)
			}
			settle(rpw.Complete, claim(1, 0)[0])
			require.Equal(t, specs[1].Ref, claim(1, 500*time.Millisecond)[0].Ref) // of a worker that is lost
			do(t, a.client, "DEL", a.keys.queue("q").side(part))
			var got []string
			for len(got) < 4 {
				claimed := claim(5, 0)
				require.NotEmpty(t, claimed)
				for _, c := range claimed {
					got = append(got, c.Ref.ID)
					settle(rpw.Complete, c)
				}
			}
			assert.ElementsMatch(t, []string{specs[1].Ref.ID, specs[2].Ref.ID, specs[3].Ref.ID, specs[4].Ref.ID}, got)
			counts, err := a.Count(t.Context(), rpw.ActionFilter{Queues: []string{"q"}})
			require.NoError(t, err)
			assert.Equal(t, int64(5), counts[rpw.Completed])
			page, err := a.List(t.Context(), rpw.ListActions{ActionFilter: rpw.ActionFilter{Queues: []string{"q"}}})
			require.NoError(t, err)
			assert.Len(t, page.Actions, 5)
		})
	}
}

// TestALargeQueueIsRestoredInSlices: A1, F24: the server is not held up for as long as all its records take.
func TestALargeQueueIsRestoredInSlices(t *testing.T) {
	a := testStore(t).actions()
	const all = 2200
	for n := 0; n < all; n += 550 {
		specs := make([]rpw.ActionSpec, 550)
		for i := range specs {
			specs[i] = rpw.ActionSpec{Ref: rpw.ActionRef{Queue: "q", ID: strconv.Itoa(n + i)}, Name: "job"}
		}
		mustEnqueue(t, a, specs...)
	}
	assert.Equal(t, 500, len(mustClaim(t, a, 500)))
	do(t, a.client, "DEL", a.keys.queue("q").side("q"))
	look := a.prepare(queueCall{"q", claimLane, rpw.Lane{}, []string{"w", "0", "0", "", noSeat, "0"}})
	slices := 0
	for {
		message, err := a.exec(t.Context(), claimScript, look.keys, look.args)
		require.NoError(t, err)
		if text, err := message.ToString(); err != nil || text != behind {
			break
		}
		slices++
	}
	assert.GreaterOrEqual(t, slices, 3)
	counts, err := a.Count(t.Context(), rpw.ActionFilter{Queues: []string{"q"}})
	require.NoError(t, err)
	assert.Equal(t, map[rpw.State]int64{rpw.Pending: all - 500, rpw.Running: 500}, counts)
	do(t, a.client, "DEL", a.keys.queue("q").side("ready"))
	got := make(map[string]bool)
	for {
		claimed := mustClaim(t, a, 400)
		if len(claimed) == 0 {
			break
		}
		for _, c := range claimed {
			got[c.Ref.ID] = true
		}
	}
	assert.Equal(t, all-500, len(got))
}

// TestWhatIsLeftOfActionsIsRead: A10, A14, F24: a server that may drop keys drops what the actions of a queue are to do, or their history. What is left is read, and an
// action that is enqueued again runs.
func TestWhatIsLeftOfActionsIsRead(t *testing.T) {
	t.Parallel()
	long := json.RawMessage(`"` + strings.Repeat("x", 2000) + `"`) // too long to be kept within the record
	begin := func(t *testing.T, part string) (a *actionStore, specs []rpw.ActionSpec) {
		a, specs = testStore(t).actions(), actionSpecs(3)
		mustEnqueue(t, a, specs...)
		held := mustClaim(t, a, 2)
		var moves []rpw.Move
		for _, c := range held {
			moves = append(moves, rpw.Move{Kind: rpw.AddEvent, Lease: c.Lease, Event: "e", Data: long})
		}
		moves = append(moves, rpw.Move{Kind: rpw.AddEvent, Lease: held[0].Lease, Event: "e"}, rpw.Move{Kind: rpw.Complete, Lease: held[1].Lease, Output: long})
		for _, m := range moves {
			answers, err := a.Advance(t.Context(), rpw.AdvanceRequest{Moves: []rpw.Move{m}})
			require.NoError(t, err)
			require.NoError(t, answers[0].Err)
		}
		do(t, a.client, "DEL", a.keys.queue("q").side(part))
		return a, specs
	}
	list := func(t *testing.T, a *actionStore, prefix string) []rpw.Action {
		page, err := a.List(t.Context(), rpw.ListActions{ActionFilter: rpw.ActionFilter{Queues: []string{"q"}, NamePrefix: prefix}})
		require.NoError(t, err)
		return page.Actions
	}
	t.Run("specs", func(t *testing.T) {
		a, specs := begin(t, "s")
		assert.Empty(t, list(t, a, ""))
		assert.Empty(t, list(t, a, "j"))
		got, err := a.Get(t.Context(), []rpw.ActionRef{specs[0].Ref, specs[1].Ref, specs[2].Ref})
		require.NoError(t, err)
		for _, g := range got {
			require.ErrorIs(t, g.Err, rpw.ErrNotFound)
		}
		mustEnqueue(t, a, specs[2])
		claimed := mustClaim(t, a, 1)
		require.Len(t, claimed, 1)
		assert.Equal(t, specs[2].Ref, claimed[0].Ref)
	})
	t.Run("history", func(t *testing.T) {
		a, specs := begin(t, "h")
		assert.Len(t, list(t, a, "j"), 3)
		got, err := a.Get(t.Context(), []rpw.ActionRef{specs[0].Ref, specs[1].Ref})
		require.NoError(t, err)
		require.NoError(t, got[0].Err)
		assert.Len(t, got[0].Events, 1)
		require.NoError(t, got[1].Err)
		assert.Equal(t, rpw.Completed, got[1].State)
		_, err = a.Changes(t.Context(), rpw.ChangesRequest{Ref: specs[1].Ref, Final: true})
		require.ErrorIs(t, err, rpw.ErrNotFound)
		_, err = a.Changes(t.Context(), rpw.ChangesRequest{Ref: specs[0].Ref})
		gap, ok := errors.AsType[*rpw.GapError](err)
		require.True(t, ok, "%v", err)
		changes, err := a.Changes(t.Context(), rpw.ChangesRequest{Ref: specs[0].Ref, After: gap.Resume.ID.Seq})
		require.NoError(t, err)
		assert.Len(t, changes, 1)
	})
}

// F24: the records of a queue are dropped: the counts do not go on telling of them once the times of all of them have passed.
func TestLostRecordsAreNotCounted(t *testing.T) {
	t.Parallel()
	a := testStore(t).actions()
	specs := actionSpecs(2)
	specs[0].Delay, specs[1].Delay = 20*time.Millisecond, 20*time.Millisecond
	mustEnqueue(t, a, specs...)
	do(t, a.client, "DEL", a.keys.queue("q").side("r"))
	require.Eventually(t, func() bool {
		assert.Empty(t, mustClaim(t, a, 1))
		counts, err := a.Count(t.Context(), rpw.ActionFilter{Queues: []string{"q"}})
		require.NoError(t, err)
		return counts[rpw.Pending] == 0
	}, 30*time.Second, 20*time.Millisecond)
}

// A9, F24: with a queue the holders of its unique keys are restored.
func TestUniqueKeysAreRestored(t *testing.T) {
	t.Parallel()
	a := testStore(t).actions()
	specs := actionSpecs(2)
	specs[0].Unique, specs[1].Unique = "k", "k"
	mustEnqueue(t, a, specs[0])
	do(t, a.client, "DEL", a.keys.queue("q").side("u"), a.keys.queue("q").side("q"))
	answers, err := a.Enqueue(t.Context(), specs[1:])
	require.NoError(t, err)
	assert.True(t, answers[0].Existing)
	assert.Equal(t, specs[0].Ref, answers[0].Ref)
}
