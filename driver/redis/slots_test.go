package redis

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// awaitQuiet lets a test end when nothing runs any more: rueidis, asked where slots are, sleeps for a second after its Close.
func awaitQuiet(t *testing.T) {
	own := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		for range 10 {
			if goleak.Find(own) == nil {
				return
			}
		}
		t.Error(goleak.Find(own))
	})
}

// TestSlotMoves is F22: while some keys of a stream are on one node and some on the other, its verbs say that nothing was done, and never that
// there is no group, no key, or another history.
func TestSlotMoves(t *testing.T) {
	awaitQuiet(t)
	nodes := redistest.StartCluster(t, 2)
	s := storeWith(t, dialCluster(t, nodes), "p")
	b := s.streams()
	batch := []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: "a", Key: "k"}}, Producer: rpw.Producer{ID: [16]byte{1}, Seq: 1}}}
	group := rpw.GroupConfig{Stream: "s", Group: "g", From: rpw.Oldest(), Lease: rpw.DefaultGroupLease, MaxDeliveries: 3}
	fetch := rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Max: 1, Lane: rpw.Lane{ID: [16]byte{2}, Seq: 1}}
	published, err := b.Publish(t.Context(), batch)
	require.NoError(t, err)
	made, err := b.EnsureGroup(t.Context(), group)
	require.NoError(t, err)
	fetched, err := b.Fetch(t.Context(), fetch)
	require.NoError(t, err)
	require.Len(t, fetched, 1)

	here := nodes.Owner(t, s.keys.stream("s").main)
	there := nodes.Nodes[0]
	if there == here {
		there = nodes.Nodes[1]
	}
	looks := 0
	nodes.Move(t, s.keys.stream("s").main, there, func() {
		looks++
		fresh := []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: "b"}}}}
		for _, batch := range [][]rpw.Batch{batch, fresh} {
			_, err := b.Publish(t.Context(), batch)
			assert.ErrorIs(t, err, rpw.ErrUnavailable)
		}
		_, err := b.EnsureGroup(t.Context(), group)
		assert.ErrorIs(t, err, rpw.ErrUnavailable)
		_, err = b.Fetch(t.Context(), fetch)
		assert.ErrorIs(t, err, rpw.ErrUnavailable)
		assert.ErrorIs(t, b.DeleteStream(t.Context(), "s"), rpw.ErrUnavailable)
		events, err := b.Read(t.Context(), rpw.ReadRequest{Stream: "s"})
		if err == nil { // which needs no script
			assert.Len(t, events, 1)
		}
	})
	assert.Greater(t, looks, 6, "of the keys that there are")
	assert.Equal(t, there, nodes.Owner(t, s.keys.stream("s").main))

	again, err := b.Publish(t.Context(), batch)
	require.NoError(t, err)
	assert.Equal(t, published, again)
	same, err := b.EnsureGroup(t.Context(), group)
	require.NoError(t, err)
	assert.Equal(t, made.Incarnation, same.Incarnation)
	repeated, err := b.Fetch(t.Context(), fetch)
	require.NoError(t, err)
	assert.Equal(t, fetched[0].Receipt, repeated[0].Receipt)
}
