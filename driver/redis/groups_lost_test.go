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

// TestResetForgetsOldVerdicts: a reset settles many lots at once, so that older ones are forgotten on the way. Nothing of them is left.
func TestResetForgetsOldVerdicts(t *testing.T) {
	b := newBus(t)
	b.group()
	for n := range 15 {
		b.add(1000*n, 1000*n+999)
	}
	for range 20 { // as many events as verdicts are remembered of
		b.settle(b.fetch(500), rpw.Settlement{Verdict: rpw.Ack})
	}
	for range 10 {
		require.Len(t, b.fetch(500), 500)
	}
	answers, err := b.Administer(t.Context(), rpw.GroupCommands{Commands: []rpw.GroupCommand{{Stream: "s", Group: "g", Verb: rpw.ResetGroup, From: rpw.Newest()}}})
	require.NoError(t, err)
	require.NoError(t, answers[0].Err)
	lots, done := b.bare("HLEN", "{%s}:gl:g"), b.bare("LLEN", "{%s}:gs:g")
	remembered, err := done.AsInt64()
	require.NoError(t, err)
	stored, err := lots.AsInt64()
	require.NoError(t, err)
	assert.Equal(t, remembered, stored)
}

// TestAPoisonedEventThatOthersRemoved: S5, G4: an event that is to go to the dead-letter stream is not there any more. It is told as missing.
func TestAPoisonedEventThatOthersRemoved(t *testing.T) {
	b := newBus(t)
	b.group(func(cfg *rpw.GroupConfig) { cfg.MaxDeliveries = 1 })
	at := b.add(1, 2)
	b.settle(b.fetch(1), rpw.Settlement{Verdict: rpw.Nack})
	b.bare("XDEL", "%s", at[0].ID.String())
	assert.Equal(t, texts(2, 2), dataOf(b.fetch(1)))
	assert.EqualValues(t, 1, b.fetchGap().Missed)
	assert.EqualValues(t, 1, b.info().Pending)
	assert.Empty(t, b.fetch(1))
}
