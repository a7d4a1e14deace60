package faults

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
	"github.com/redis-process-worker/rpw/internal/redistest"
	"github.com/redis-process-worker/rpw/workers"
)

// TestServerClockJumps: F15, F14, F19, A2, A6, S1: the clock of the server jumps a minute ahead and two back. Ids grow all the same, each action ends
// once, what is to run soon does, and nobody waits for the clock to be again where it was.
func TestServerClockJumps(t *testing.T) {
	t.Parallel()
	server, clock := redistest.StartClocked(t)
	url := "redis://" + server.Addr
	hub := open(t, url)
	stream := rpw.StreamOf[int]("numbers")
	var runs atomic.Int64
	for range 2 {
		startWorker(t, open(t, url), workers.Config{Concurrency: 2, Lease: time.Second}, func(ctx context.Context, n int) (string, error) {
			runs.Add(1)
			select {
			case <-time.After(time.Duration(n) * time.Millisecond):
				return "done", nil
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
		})
	}
	for i, offset := range []time.Duration{0, time.Minute, -time.Minute} {
		long, err := childAction.Start(t.Context(), hub, 1500)
		require.NoError(t, err)
		within(t, time.Now(), "it runs", func() bool { return actionOf(t, hub, long.Ref).State == rpw.Running })
		clock.Set(t, offset)
		jumped := time.Now()
		publishNumbers(t, hub, stream, i, i+1)
		began := time.Now()
		soon, err := childAction.Start(t.Context(), hub, 0, actions.Delay(300*time.Millisecond))
		require.NoError(t, err)
		_, err = soon.Wait(t.Context())
		require.NoError(t, err)
		assert.GreaterOrEqual(t, time.Since(began), 300*time.Millisecond, "never early")
		atMost(t, "an action with a delay of 300 ms is done after", time.Since(began), recovery)
		_, err = long.Wait(t.Context())
		require.NoError(t, err)
		atMost(t, "an action of 1.5 s that ran when the clock jumped is done after", time.Since(jumped), 1500*time.Millisecond+time.Second+recovery)
		for _, ref := range []rpw.ActionRef{long.Ref, soon.Ref} {
			a := actionOf(t, hub, ref)
			assert.Equal(t, rpw.Completed, a.State)
			assert.Equal(t, 1, ends(a))
		}
	}
	events := all(t, hub, stream)
	assert.Equal(t, []int{0, 1, 2}, numbers(events))
	for i := range events[1:] {
		assert.Negative(t, events[i].ID.Compare(events[i+1].ID), "ids grow")
	}
	note(t, "handlers begun for 6 actions", runs.Load())
}

// TestClocksApart: F16, F10, F14, A6, C2, G3: the clocks of the server and of this process are an hour apart. Delays, leases and times to live last as long
// as they should.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	for name, offset := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, clock := redistest.StartClocked(t)
			clock.Set(t, offset)
			url := "redis://" + server.Addr
			hub := open(t, url)
			for range 2 {
				startWorker(t, open(t, url), workers.Config{Lease: 500 * time.Millisecond}, func(ctx context.Context, n int) (string, error) {
					select {
					case <-time.After(time.Duration(n) * time.Millisecond):
						return "", nil
					case <-ctx.Done():
						return "", context.Cause(ctx)
					}
				})
			}
			require.NoError(t, rpw.Set(t.Context(), hub, "k", 1, rpw.TTL(2*time.Second)))
			began := time.Now()
			h, err := childAction.Start(t.Context(), hub, 1500, actions.Delay(300*time.Millisecond))
			require.NoError(t, err)
			_, found, err := rpw.Get[int](t.Context(), hub, "k")
			require.NoError(t, err)
			assert.True(t, found)
			_, err = h.Wait(t.Context())
			require.NoError(t, err)
			assert.GreaterOrEqual(t, time.Since(began), 1800*time.Millisecond)
			atMost(t, "an action of 1.5 s, with a delay of 300 ms, is done after", time.Since(began), 1800*time.Millisecond+recovery)
			assert.Equal(t, 1, actionOf(t, hub, h.Ref).Attempt, "its lease was kept")
			within(t, began, "the value is gone", func() bool { _, found, err := rpw.Get[int](t.Context(), hub, "k"); return err == nil && !found })
			atMost(t, "a value that lives for 2 s is gone after", time.Since(began), 2*time.Second+recovery)
		})
	}
}

// TestDeletedAndClockBack: F18, S5: a stream is deleted and made again while the clock of the server is behind, so that its ids are smaller than those a
// subscriber has seen. It learns of the reset, and gets the new events.
func TestDeletedAndClockBack(t *testing.T) {
	t.Parallel()
	server, clock := redistest.StartClocked(t)
	hub := open(t, "redis://"+server.Addr)
	stream := rpw.StreamOf[int]("numbers")
	publishNumbers(t, hub, stream, 0, 5)
	resets := 0
	sub, err := stream.Subscribe(t.Context(), hub, rpw.Newest(), rpw.OnGap(func(gap *rpw.GapError) (rpw.Position, error) {
		assert.Equal(t, rpw.GapReset, gap.Kind)
		resets++
		return gap.Resume, nil
	}))
	require.NoError(t, err)
	got := make(chan int, 3)
	go func() {
		defer close(got)
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
			m, err := sub.Next(ctx)
			cancel()
			if !assert.NoError(t, err) {
				return
			}
			got <- m.Data
		}
	}()
	clock.Set(t, -2*time.Minute)
	server.CLI(t, "DEL", streamKey(t, server, "numbers"))
	publishNumbers(t, hub, stream, 5, 8)
	var events []int
	for n := range got {
		events = append(events, n)
	}
	assert.Equal(t, []int{5, 6, 7}, events)
	assert.Equal(t, 1, resets)
}
