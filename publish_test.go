package rpw_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func publish(ctx context.Context, hub *rpw.Hub, eventType string) (rpw.Position, error) {
	answers, err := hub.Streams().Publish(ctx, []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: eventType}}}})
	if err != nil {
		return rpw.Position{}, err
	}
	return answers[0].Last(), answers[0].Err
}

// TestABatchThatMayHaveBeenTakenStaysAsItWas: a store that has answered with an error may hold it still.
func TestABatchThatMayHaveBeenTakenStaysAsItWas(t *testing.T) {
	var held []rpw.Batch
	bus := &fakeBus{behave: func(_ context.Context, b rpw.Batch) error {
		if b.Events[0].Type != "lost" {
			return nil
		}
		held = append(held, b)
		return rpw.Errorf(rpw.ErrConflict, "no")
	}}
	hub := newHub(t, rpw.Parts{Streams: bus})
	stream := rpw.StreamOf[int]("s")
	for _, kind := range []string{"a", "lost", "b", "c"} {
		_, err := stream.Publish(t.Context(), hub, kind, 1)
		assert.Equal(t, kind == "lost", err != nil)
	}
	require.Len(t, held, 1)
	assert.Equal(t, "lost", held[0].Events[0].Type)
	assert.Equal(t, "s", held[0].Stream)
	assert.Equal(t, []string{"a", "b", "c"}, bus.stored())
}

// TestPublishOrder: under contention and any latency, calls ordered by return keep their order, each is stored once and answered with its
// own position, and producer numbers grow.
func TestPublishOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		bus := &fakeBus{}
		bus.behave = func(ctx context.Context, b rpw.Batch) error {
			calls++
			time.Sleep(time.Duration(calls*7919%13) * time.Millisecond)
			return nil
		}
		hub := newHub(t, rpw.Parts{Streams: bus})
		var wg sync.WaitGroup
		positions := make([][]rpw.Position, 50)
		for p := range positions {
			wg.Go(func() {
				for i := range 20 {
					at, err := publish(t.Context(), hub, fmt.Sprintf("%d-%d", p, i))
					assert.NoError(t, err)
					positions[p] = append(positions[p], at)
				}
			})
		}
		wg.Wait()
		types := bus.stored()
		require.Len(t, types, 1000)
		for p := range positions {
			for i, at := range positions[p] {
				require.Equal(t, fmt.Sprintf("%d-%d", p, i), types[at.Count-1], "each has its own position")
				if i > 0 {
					require.Greater(t, at.Count, positions[p][i-1].Count)
				}
			}
		}
		assert.Less(t, len(bus.batches), 100, "those who wait leave together")
		for i, b := range bus.batches {
			assert.NotZero(t, b.Producer.ID)
			assert.Equal(t, bus.batches[0].Producer.ID, b.Producer.ID)
			if i > 0 {
				assert.Greater(t, b.Producer.Seq, bus.batches[i-1].Producer.Seq)
			}
		}
	})
}

// gated is a bus whose calls wait for a gate, or for their ctx.
func gated() (*fakeBus, chan struct{}) {
	gate := make(chan struct{})
	return &fakeBus{behave: func(ctx context.Context, _ rpw.Batch) error {
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return errors.Join(rpw.ErrUncertain, ctx.Err())
		}
	}}, gate
}

// TestPublishWithdrawn: who leaves before his turn is not stored; who leaves during it does not know.
func TestPublishWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus, gate := gated()
		hub := newHub(t, rpw.Parts{Streams: bus})
		background := context.Background()
		ask := func(ctx context.Context, eventType string) chan error {
			done := make(chan error, 1)
			go func() {
				_, err := publish(ctx, hub, eventType)
				done <- err
			}()
			synctest.Wait()
			return done
		}
		first := ask(background, "first")
		leaving, leave := context.WithCancel(background)
		withdrawn := ask(leaving, "withdrawn")
		second := ask(background, "second")
		third, leaveThird := context.WithCancel(background)
		uncertain := ask(third, "uncertain")
		leave()
		err := <-withdrawn
		assert.ErrorIs(t, err, context.Canceled)
		assert.NotErrorIs(t, err, rpw.ErrUncertain, "it never left")

		gate <- struct{}{}
		require.NoError(t, <-first)
		synctest.Wait() // second and uncertain are on their way now
		leaveThird()
		err = <-uncertain
		assert.ErrorIs(t, err, rpw.ErrUncertain)
		assert.ErrorIs(t, err, context.Canceled)
		gate <- struct{}{}
		require.NoError(t, <-second)
		assert.Equal(t, []string{"first", "second", "uncertain"}, bus.stored())
	})
}

// TestPublishGathersWithinLimits: groups respect the limits of a batch; those with an expectation or other settings go alone.
func TestPublishGathersWithinLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus, gate := gated()
		hub := newHub(t, rpw.Parts{Streams: bus})
		var wg sync.WaitGroup
		send := func(b rpw.Batch) {
			b.Stream = "s"
			wg.Go(func() {
				answers, err := hub.Streams().Publish(context.Background(), []rpw.Batch{b})
				if assert.NoError(t, err) {
					assert.Len(t, answers[0].Positions, len(b.Events))
				}
			})
			synctest.Wait()
		}
		events := func(n, size int) []rpw.NewEvent {
			all := make([]rpw.NewEvent, n)
			for i := range all {
				all[i] = rpw.NewEvent{Type: "t", Data: []byte(strings.Repeat("x", size))}
			}
			return all
		}
		send(rpw.Batch{Events: events(1, 0)}) // in flight
		send(rpw.Batch{Events: events(600, 0)})
		send(rpw.Batch{Events: events(400, 0)})
		send(rpw.Batch{Events: events(1, 0)})
		send(rpw.Batch{Events: events(5, 1_000_000)})
		send(rpw.Batch{Events: events(5, 1_000_000)})
		send(rpw.Batch{Events: events(1, 0), Expect: rpw.Position{Epoch: 1, ID: rpw.ID{MS: 1}}})
		send(rpw.Batch{Events: events(1, 0)})
		send(rpw.Batch{Events: events(2, 0), Keep: rpw.Retention{Events: 5}})
		send(rpw.Batch{Events: events(2, 0), Keep: rpw.Retention{Events: 5}})
		close(gate)
		wg.Wait()
		var sizes []int
		for _, b := range bus.batches {
			sizes = append(sizes, len(b.Events))
		}
		assert.Equal(t, []int{1, 1000, 6, 5, 1, 1, 4}, sizes)
	})
}

// TestPublishRefusedInAGroup: an event that the driver refuses does not take those down that left with it.
func TestPublishRefusedInAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus, gate := gated()
		wait := bus.behave
		bus.behave = func(ctx context.Context, b rpw.Batch) error {
			for _, e := range b.Events {
				if e.Type == "bad" {
					return rpw.Errorf(rpw.ErrInvalid, "this driver has no such type")
				}
			}
			return wait(ctx, b)
		}
		hub := newHub(t, rpw.Parts{Streams: bus})
		errs := map[string]error{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, eventType := range []string{"first", "a", "bad", "b"} {
			wg.Go(func() {
				_, err := publish(context.Background(), hub, eventType)
				mu.Lock()
				defer mu.Unlock()
				errs[eventType] = err
			})
			synctest.Wait()
		}
		close(gate)
		wg.Wait()
		assert.ErrorIs(t, errs["bad"], rpw.ErrInvalid)
		for _, eventType := range []string{"first", "a", "b"} {
			assert.NoError(t, errs[eventType], eventType)
		}
		assert.Equal(t, []string{"first", "a", "b"}, bus.stored())
	})
}

// TestPublishAtClose: closing the Hub ends those who wait.
func TestPublishAtClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus, _ := gated()
		hub := newHub(t, rpw.Parts{Streams: bus})
		own, leave := context.WithCancel(context.Background())
		done := make(chan error, 3)
		for i, ctx := range []context.Context{own, context.Background(), context.Background()} {
			go func() {
				_, err := publish(ctx, hub, fmt.Sprint(i))
				done <- err
			}()
			synctest.Wait()
		}
		leave() // the first is cut; the others are in flight as a group
		assert.ErrorIs(t, <-done, rpw.ErrUncertain)
		synctest.Wait()
		require.NoError(t, hub.Close())
		for range 2 {
			err := <-done
			assert.True(t, errors.Is(err, rpw.ErrClosed) || errors.Is(err, rpw.ErrUncertain), "%v", err)
		}
		_, err := publish(context.Background(), hub, "late")
		assert.ErrorIs(t, err, rpw.ErrClosed)
	})
}
