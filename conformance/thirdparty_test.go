package conformance_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/conformance"
	"github.com/redis-process-worker/rpw/driver/memory"
)

// TestThirdParty is the whole of what the author of a driver writes.
func TestThirdParty(t *testing.T) {
	conformance.Run(t, conformance.Harness{
		Open: func(testing.TB) conformance.Backend {
			store := memory.New(memory.Options{})
			return conformance.Backend{
				Connect: func() (rpw.Parts, error) { return Distant(store.Parts(), new(Link)), nil },
				Flush:   store.Flush,
			}
		},
		Unit:   5 * time.Millisecond,
		Bubble: true,
	})
}

// Distant puts a link of some latency before a backend: a driver made of another one. What it does not decorate it hands on as it is.
func Distant(p rpw.Parts, l *Link) rpw.Parts {
	p.Name = "distant-" + p.Name
	p.Streams = distantStreams{p.Streams, l}
	p.Cache = distantCache{p.Cache, l}
	p.Actions = distantActions{p.Actions, l}
	return p
}

// Link delays and counts calls.
type Link struct{ Calls atomic.Int64 }

const latency = time.Millisecond

// over takes a call over the link. A context that ends before it arrives means that nothing was done.
func over[Q, A any](ctx context.Context, l *Link, verb func(context.Context, Q) (A, error), req Q) (A, error) {
	l.Calls.Add(1)
	select {
	case <-time.After(latency):
		return verb(ctx, req)
	case <-ctx.Done():
		var none A
		return none, ctx.Err()
	}
}

type distantStreams struct {
	rpw.StreamBus
	*Link
}

func (d distantStreams) Publish(ctx context.Context, batches []rpw.Batch) ([]rpw.Published, error) {
	return over(ctx, d.Link, d.StreamBus.Publish, batches)
}

func (d distantStreams) Read(ctx context.Context, req rpw.ReadRequest) ([]rpw.Event, error) {
	return over(ctx, d.Link, d.StreamBus.Read, req)
}

func (d distantStreams) Fetch(ctx context.Context, req rpw.FetchRequest) ([]rpw.Delivery, error) {
	return over(ctx, d.Link, d.StreamBus.Fetch, req)
}

func (d distantStreams) Settle(ctx context.Context, req rpw.SettleRequest) ([]error, error) {
	return over(ctx, d.Link, d.StreamBus.Settle, req)
}

type distantCache struct {
	rpw.Cache
	*Link
}

func (d distantCache) Get(ctx context.Context, req rpw.GetRequest) ([]rpw.Value, error) {
	return over(ctx, d.Link, d.Cache.Get, req)
}

func (d distantCache) Set(ctx context.Context, items []rpw.CacheSet) ([]error, error) {
	return over(ctx, d.Link, d.Cache.Set, items)
}

type distantActions struct {
	rpw.ActionStore
	*Link
}

func (d distantActions) Enqueue(ctx context.Context, specs []rpw.ActionSpec) ([]rpw.Enqueued, error) {
	return over(ctx, d.Link, d.ActionStore.Enqueue, specs)
}

func (d distantActions) Claim(ctx context.Context, req rpw.ClaimRequest) ([]rpw.Claimed, error) {
	return over(ctx, d.Link, d.ActionStore.Claim, req)
}

func (d distantActions) Advance(ctx context.Context, req rpw.AdvanceRequest) ([]rpw.Advanced, error) {
	return over(ctx, d.Link, d.ActionStore.Advance, req)
}

func TestDecoratorKeepsWhatIsBehindIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, link := memory.New(memory.Options{}), new(Link)
		hub, err := rpw.New(Distant(store.Parts(), link))
		require.NoError(t, err)
		defer hub.Close()
		assert.Equal(t, "distant-memory", hub.Driver())
		native, ok := rpw.Native[*memory.Store](hub)
		assert.True(t, ok)
		assert.Same(t, store, native)
		assert.NoError(t, hub.Health(t.Context()))
		require.NoError(t, rpw.Set(t.Context(), hub, "key", 1))
		n, ok, err := rpw.Get[int](t.Context(), hub, "key")
		assert.Equal(t, []any{1, true, nil}, []any{n, ok, err})
		assert.EqualValues(t, 2, link.Calls.Load())
	})
}
