package redis

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// TestWhoLeavesALateFetchTakesNoLeaseAlong: G1, E1: the answer to a fetch is late, and its caller has left. What it leased is handed back at once.
func TestWhoLeavesALateFetchTakesNoLeaseAlong(t *testing.T) {
	server := redistest.Start(t)
	b := busOf(t, storeOn(t, server, "p"))
	b.group(func(cfg *rpw.GroupConfig) { cfg.Lease = rpw.MaxLease })
	proxy := redistest.NewProxy(t, server.Addr)
	hub, err := rpw.New(storeWith(t, dialAll(t, &config{addrs: []string{proxy.Addr}}), "p").parts())
	require.NoError(t, err)
	defer hub.Close()
	req := rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "gone"}
	_, err = hub.Streams().Fetch(t.Context(), req) // makes the link
	require.NoError(t, err)
	for _, req.Wait = range []time.Duration{0, rpw.Forever} {
		b.add(1, 1)
		proxy.Slow(redistest.Poor{Delay: 200 * time.Millisecond})
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err := hub.Streams().Fetch(ctx, req)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		proxy.Slow(redistest.Poor{})
		ds, err := b.Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Wait: 10 * time.Second})
		require.NoError(t, err)
		require.Len(t, ds, 1, "it was handed back")
		assert.Equal(t, 1, ds[0].Attempt)
		b.settle(ds, rpw.Settlement{Verdict: rpw.Ack})
	}

	// A gap that came too late is told to the next fetch of the same consumer.
	b.add(1, 300)
	_, err = b.Trim(t.Context(), "s", rpw.Retention{Events: 50})
	require.NoError(t, err)
	proxy.Slow(redistest.Poor{Delay: 200 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	_, err = hub.Streams().Fetch(ctx, req)
	cancel()
	require.ErrorIs(t, err, context.DeadlineExceeded)
	proxy.Slow(redistest.Poor{})
	_, err = hub.Streams().Fetch(t.Context(), req)
	gap, ok := errors.AsType[*rpw.GapError](err)
	require.True(t, ok, "no gap, but %v", err)
	assert.EqualValues(t, 250, gap.Missed)
	ds, err := hub.Streams().Fetch(t.Context(), req)
	require.NoError(t, err)
	assert.Equal(t, texts(251, 251), dataOf(ds))
}
