package redis

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// keep reads a key until it is served from this process.
func keep(t *testing.T, s *store, key string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := nearly(t, s, key)
		require.NoError(t, err)
		return kept(s, key)
	}, 10*time.Second, time.Millisecond)
}

func kept(s *store, key string) bool {
	_, here := s.near.hits([]string{key}, time.Hour)
	return here
}

func put(t *testing.T, s *store, key, value string) {
	t.Helper()
	errs, err := cache{s}.Set(t.Context(), []rpw.CacheSet{{Key: key, Data: []byte(value), TTL: rpw.NoTTL}})
	require.NoError(t, err)
	require.NoError(t, errs[0])
}

// TestNearWhileASlotMoves: C6, F22: what is written on the new node of a slot is seen, also a key that the old one never had; then the new node is
// the one that keeps.
func TestNearWhileASlotMoves(t *testing.T) {
	awaitQuiet(t)
	nodes := redistest.StartCluster(t, 2)
	s, other := storeWith(t, dialCluster(t, nodes), "p"), storeWith(t, dialCluster(t, nodes), "p")
	there, absent := "{k}there", "{k}absent" // of one slot
	put(t, other, there, "old")
	keep(t, s, there)
	_, err := nearly(t, s, absent)
	require.NoError(t, err)
	here := nodes.Owner(t, s.keys.cache(there))
	stays := "0" // of another slot of the node, so that what proves its link is not what moves
	for n := 1; nodes.Owner(t, s.keys.cache(stays)) != here; n++ {
		stays = strconv.Itoa(n)
	}
	put(t, other, stays, "1")
	keep(t, s, stays)

	to := nodes.Nodes[0]
	if to == here {
		to = nodes.Nodes[1]
	}
	written := func(key, value string) {
		put(t, other, key, value)
		require.Eventually(t, func() bool { v, err := nearly(t, s, key); return err == nil && v == value }, 3500*time.Millisecond, time.Millisecond, key)
	}
	steps := 0
	nodes.Move(t, s.keys.cache(there), to, func() {
		written(absent, strconv.Itoa(steps))
		steps++
	})
	assert.Equal(t, 2, steps)
	for _, key := range []string{absent, there} {
		written(key, "new")
		keep(t, s, key)
	}
}

// TestNearOfANodeThatLostTheOthers: C6: a node that has lost sight of the majority may have lost its slots; it answers a PING all the same.
func TestNearOfANodeThatLostTheOthers(t *testing.T) {
	awaitQuiet(t)
	nodes := redistest.StartCluster(t, 2)
	s := storeWith(t, dialCluster(t, nodes), "p")
	put(t, s, "k", "1")
	keep(t, s, "k")
	here := nodes.Owner(t, s.keys.cache("k"))
	for _, node := range nodes.Nodes {
		if node != here {
			node.Freeze()
			defer node.Thaw()
		}
	}
	assert.Eventually(t, func() bool { return !kept(s, "k") }, 30*time.Second, 10*time.Millisecond)
}
