package memory

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

func TestAPageHoldsAtMostMaxBatchBytesButOneEvent(t *testing.T) {
	b := newBus(t)
	for range 10 {
		b.publish(rpw.Batch{Stream: "s", Events: []rpw.NewEvent{{Type: "e", Data: make([]byte, rpw.MaxPayload-1)}}})
	}
	assert.Len(t, b.read(rpw.ReadRequest{Stream: "s"}), 8)
	assert.Len(t, b.read(rpw.ReadRequest{Stream: "s", Reverse: true}), 8)
}

// TestAPageIsWrittenOverTheOneOfBefore: what a reader hands back is used where it has room, and nothing of it shines through.
func TestAPageIsWrittenOverTheOneOfBefore(t *testing.T) {
	b := newBus(t)
	b.publish(rpw.Batch{Stream: "s", Events: []rpw.NewEvent{{Type: "a", Key: "k", Header: map[string]string{"h": "1"}}, {Type: "b"}, {Type: "c"}, {Type: "d"}, {Type: "e"}}})
	first := b.read(rpw.ReadRequest{Stream: "s", Max: 2})
	second := b.read(rpw.ReadRequest{Stream: "s", Max: 2, After: first[1].Position(), Reuse: first})
	assert.Same(t, &first[0], &second[0])
	assert.Equal(t, []string{"c", "d"}, []string{second[0].Type, second[1].Type})
	assert.Empty(t, second[0].Key)
	assert.Nil(t, second[0].Header)
	all := b.read(rpw.ReadRequest{Stream: "s", Reuse: second})
	assert.Len(t, all, 5, "a page that is too small is no bound")
	assert.NotSame(t, &second[0], &all[0])
}

func TestTenThousandReadersAllGetTheEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		at := b.locate("s", rpw.Newest())
		var wg sync.WaitGroup
		var mu sync.Mutex
		got := 0
		for range 10_000 {
			wg.Go(func() {
				events, err := b.Read(t.Context(), rpw.ReadRequest{Stream: "s", After: at, Wait: rpw.Forever})
				mu.Lock()
				defer mu.Unlock()
				if err == nil && len(events) == 1 {
					got++
				}
			})
		}
		synctest.Wait()
		b.add("s", 1)
		wg.Wait()
		assert.Equal(t, 10_000, got)
		assert.True(t, b.find("s").readers.empty())
	})
}

func TestASlowReaderCostsNothing(t *testing.T) {
	b := newBus(t)
	at := b.locate("s", rpw.Newest())
	for range 1000 { // the reader at this place holds nothing while it is away
		b.publish(rpw.Batch{Stream: "s", Keep: rpw.Retention{Events: 10}, Events: []rpw.NewEvent{{Type: "e"}}})
	}
	assert.EqualValues(t, 10*(eventOverhead+1), b.store.Used())
	assert.EqualValues(t, 990, b.gap(rpw.ReadRequest{Stream: "s", After: at}).Missed)
}

func TestAReaderThatGivesUpLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := b.Read(ctx, rpw.ReadRequest{Stream: "s", Wait: rpw.Forever})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Empty(t, b.read(rpw.ReadRequest{Stream: "s", Wait: time.Hour}))
		assert.True(t, b.find("s").readers.empty())
	})
}

func TestAClosedHubEndsItsOwnWaits(t *testing.T) {
	waits := map[string]func(ctx context.Context, hub *rpw.Hub) error{
		"Read": func(ctx context.Context, hub *rpw.Hub) error {
			_, err := hub.Streams().Read(ctx, rpw.ReadRequest{Stream: "s", Wait: rpw.Forever})
			return err
		},
		"Fetch": func(ctx context.Context, hub *rpw.Hub) error {
			_, err := hub.Streams().Fetch(ctx, rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Wait: time.Hour})
			return err
		},
		"Claim": func(ctx context.Context, hub *rpw.Hub) error {
			_, err := hub.Actions().Claim(ctx, rpw.ClaimRequest{Queues: []string{"q"}, Worker: "w", Wait: rpw.Forever})
			return err
		},
		"Heartbeat": func(ctx context.Context, hub *rpw.Hub) error {
			_, err := hub.Actions().Heartbeat(ctx, rpw.Heartbeat{Worker: rpw.WorkerInfo{ID: "w", Name: "w", Status: rpw.WorkerIdle}, Wait: rpw.Forever})
			return err
		},
	}
	opened := New(Options{}) // outside of the bubbles, as a test's shared store may be
	for name, wait := range waits {
		t.Run(name, func(t *testing.T) {
			mine, err := rpw.New(opened.Parts())
			require.NoError(t, err)
			other, err := rpw.New(opened.Parts())
			require.NoError(t, err)
			synctest.Test(t, func(t *testing.T) {
				bus{t, opened.streams}.group(rpw.GroupConfig{})
				ctx, cancel := context.WithCancel(t.Context())
				mineEnded, otherEnded := make(chan error, 1), make(chan error, 1)
				go func() { mineEnded <- wait(ctx, mine) }()
				go func() { otherEnded <- wait(ctx, other) }()
				synctest.Wait()
				require.NoError(t, mine.Close())
				require.ErrorIs(t, <-mineEnded, rpw.ErrClosed)
				require.ErrorIs(t, wait(ctx, mine), rpw.ErrClosed, "a wait began after the end")
				synctest.Wait()
				assert.Empty(t, otherEnded)
				cancel()
				require.ErrorIs(t, <-otherEnded, context.Canceled)
				require.NoError(t, other.Close())
			})
		})
	}
}

func TestConcurrentPublishersAndReadersAgree(t *testing.T) {
	b := newBus(t)
	const publishers, each = 4, 500
	at := b.locate("s", rpw.Newest())
	var wg sync.WaitGroup
	for range publishers {
		wg.Go(func() {
			for range each {
				b.add("s", 1)
			}
		})
	}
	for range 3 {
		wg.Go(func() {
			next, at := uint64(1), at
			for next <= publishers*each {
				events, err := b.Read(t.Context(), rpw.ReadRequest{Stream: "s", After: at, Wait: rpw.Forever})
				if !assert.NoError(t, err) {
					return
				}
				for _, e := range events {
					if !assert.Equal(t, next, e.Count) {
						return
					}
					next++
				}
				at = events[len(events)-1].Position()
			}
		})
	}
	wg.Wait()
}
