package memory

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// BenchmarkEnqueueClaimComplete is the life of an action, alone and in batches of 100, in a queue that keeps finished ones.
func BenchmarkEnqueueClaimComplete(b *testing.B) {
	for _, kept := range []int{1_000, 100_000} {
		for _, batch := range []int{1, 100} {
			b.Run(fmt.Sprintf("kept=%d/batch=%d", kept, batch), func(b *testing.B) {
				s := New(Options{}).actions
				life := benchLife(b, s, batch)
				for i := 0; i < kept; i += batch {
					life(rpw.KeepActions{})
				}
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; i < b.N; i += batch {
					life(rpw.KeepActions{Completed: 1}) // removed by the next verb: the queue keeps its size
				}
			})
		}
	}
}

// benchLife returns a function that lets a batch of new actions be enqueued, claimed and completed.
func benchLife(b *testing.B, s *actionStore, batch int) func(rpw.KeepActions) {
	ctx := b.Context()
	claim := rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w", Max: batch}
	specs := make([]rpw.ActionSpec, batch)
	moves := make([]rpw.Move, batch)
	n := 0
	return func(keep rpw.KeepActions) {
		for i := range specs {
			n++
			specs[i] = spec(strconv.Itoa(n))
			specs[i].Keep = keep
		}
		_, err := s.Enqueue(ctx, specs)
		require.NoError(b, err)
		claimed, err := s.Claim(ctx, claim)
		require.NoError(b, err)
		require.Len(b, claimed, batch)
		for i, c := range claimed {
			moves[i] = rpw.Move{Lease: c.Lease, Kind: rpw.Complete}
		}
		answers, err := s.Advance(ctx, rpw.AdvanceRequest{Moves: moves})
		require.NoError(b, err)
		require.NoError(b, answers[batch-1].Err)
	}
}

// BenchmarkClaimFromBacklog claims and gives back while many actions are ready.
func BenchmarkClaimFromBacklog(b *testing.B) {
	for _, ready := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("ready=%d", ready), func(b *testing.B) {
			s := New(Options{}).actions
			for i := range ready {
				_, err := s.Enqueue(b.Context(), []rpw.ActionSpec{spec(strconv.Itoa(i))})
				require.NoError(b, err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				claimed, err := s.Claim(b.Context(), rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w"})
				require.NoError(b, err)
				_, err = s.Advance(b.Context(), rpw.AdvanceRequest{Moves: []rpw.Move{{Lease: claimed[0].Lease, Kind: rpw.Giveback}}})
				require.NoError(b, err)
			}
		})
	}
}

// BenchmarkListPage lists the last page of a large queue.
func BenchmarkListPage(b *testing.B) {
	s := New(Options{}).actions
	life := benchLife(b, s, 100)
	for range 1000 {
		life(rpw.KeepActions{})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		page, err := s.List(b.Context(), rpw.ListActions{Max: 100, Reverse: true})
		require.NoError(b, err)
		require.Len(b, page.Actions, 100)
	}
}
