package redis

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// TestWhatLeavesABundleLeavesTheRest: A6, A14: actions that are enqueued together share entries. Whichever of them is taken out, the rest stays in order, keeps
// its arguments, and the last one leaves nothing behind.
func TestWhatLeavesABundleLeavesTheRest(t *testing.T) {
	t.Parallel()
	a := testStore(t).actions()
	const all = 250
	specs := make([]rpw.ActionSpec, all)
	for i := range specs {
		specs[i] = rpw.ActionSpec{Ref: rpw.ActionRef{Queue: "q", ID: fmt.Sprintf("%04d", i)}, Name: "job", Arg: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))}
		specs[i].Keep.Completed = 500 * time.Millisecond
	}
	mustEnqueue(t, a, specs...)
	control := func(kind rpw.CommandKind, drop func(i int) bool) {
		var commands []rpw.Command
		for i, spec := range specs {
			if drop(i) {
				commands = append(commands, rpw.Command{Kind: kind, Ref: spec.Ref})
			}
		}
		answers, err := a.Control(t.Context(), rpw.ControlRequest{Commands: commands})
		require.NoError(t, err)
		for _, answer := range answers {
			require.NoError(t, answer.Err)
		}
	}
	drop := func(i int) bool { return i%7 == 0 || i >= 100 && i < 110 || i == all-1 }
	control(rpw.DeleteAction, drop)
	left := slices.DeleteFunc(slices.Clone(specs), func(s rpw.ActionSpec) bool {
		return drop(slices.IndexFunc(specs, func(o rpw.ActionSpec) bool { return o.Ref == s.Ref }))
	})
	for _, reverse := range []bool{false, true} {
		req := rpw.ListActions{ActionFilter: rpw.ActionFilter{Queues: []string{"q"}}, Reverse: reverse, Max: 30}
		var listed []rpw.Action
		for {
			page, err := a.List(t.Context(), req)
			require.NoError(t, err)
			listed = append(listed, page.Actions...)
			if req.Cursor = page.Next; req.Cursor == "" {
				break
			}
		}
		require.Len(t, listed, len(left))
		if reverse {
			slices.Reverse(listed)
		}
		for i := range left {
			require.Equal(t, left[i].Ref, listed[i].Ref)
			require.JSONEq(t, string(left[i].Arg), string(listed[i].Arg))
		}
	}
	var held []rpw.Claimed
	for len(held) < len(left) {
		claimed := mustClaim(t, a, 17)
		require.NotEmpty(t, claimed)
		held = append(held, claimed...)
	}
	for i := range left {
		require.Equal(t, left[i].Ref, held[i].Ref)
		require.JSONEq(t, string(left[i].Arg), string(held[i].Arg))
	}
	for odd := range 2 { // of each claim some and the others
		var moves []rpw.Move
		for i := odd; i < len(held); i += 2 {
			moves = append(moves, rpw.Move{Lease: held[i].Lease, Kind: rpw.Complete, Output: json.RawMessage(`1`)})
		}
		answers, err := a.Advance(t.Context(), rpw.AdvanceRequest{Moves: moves})
		require.NoError(t, err)
		for _, answer := range answers {
			require.NoError(t, answer.Err)
		}
	}
	running := do(t, a.client, "ZCARD", a.keys.queue("q").side("run"))
	assert.Equal(t, int64(1), number(&running), "its mark")
	require.Eventually(t, func() bool {
		count, err := a.Count(t.Context(), rpw.ActionFilter{Queues: []string{"q"}})
		return err == nil && len(count) == 0
	}, 30*time.Second, 20*time.Millisecond)
	for _, part := range queueParts {
		there := do(t, a.client, "EXISTS", a.keys.queue("q").side(part))
		assert.Zero(t, number(&there), part)
	}
}
