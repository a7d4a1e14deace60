package redis

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// TestGroupLeasesWhenTheClockFallsBack: F15, G1: the clock of the server falls back by an hour. No lease ends later than a new one would, whether it was
// renewed or not, and none ends because the clock fell.
func TestGroupLeasesWhenTheClockFallsBack(t *testing.T) {
	server, clock := redistest.StartClocked(t)
	b := busOf(t, storeOn(t, server, "p"))
	const lease = 2 * time.Second
	b.group(func(cfg *rpw.GroupConfig) { cfg.Lease = rpw.MaxLease })
	b.add(1, 4)
	fetch := func(consumer string, most int, lease, wait time.Duration) []rpw.Delivery {
		t.Helper()
		ds, err := b.Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: consumer, Max: most, Lease: lease, Wait: wait})
		require.NoError(t, err)
		return ds
	}
	kept := fetch("alive", 1, 0, 0)
	lapses := fetch("dead", 2, lease, 0)
	clock.Set(t, time.Minute)
	b.settle(lapses[1:], rpw.Settlement{Verdict: rpw.Extend, Delay: lease})
	clock.Set(t, -time.Hour)
	fell := time.Now()
	var got []string
	for len(got) < 3 {
		ds := fetch("c", 3, 0, 20*time.Second)
		require.NotEmpty(t, ds)
		got = append(got, dataOf(ds)...)
	}
	assert.ElementsMatch(t, texts(2, 4), got)
	assert.Less(t, time.Since(fell), 15*time.Second)
	b.settle(kept, rpw.Settlement{Verdict: rpw.Ack})
	assert.Empty(t, fetch("c", 3, 0, 0))
}

// TestNackDelaysWhenTheClockFallsBack: F15, G2: the clock of the server falls back by an hour. What was given back with a delay waits that long from then on,
// and not the hour as well.
func TestNackDelaysWhenTheClockFallsBack(t *testing.T) {
	server, clock := redistest.StartClocked(t)
	b := busOf(t, storeOn(t, server, "p"))
	b.group()
	b.add(1, 3)
	ds := b.fetch(3)
	b.settle(ds[:1], rpw.Settlement{Verdict: rpw.Nack, Delay: 500 * time.Millisecond})
	b.settle(ds[1:2], rpw.Settlement{Verdict: rpw.Nack, Delay: time.Hour})
	b.settle(ds[2:], rpw.Settlement{Verdict: rpw.Release})
	clock.Set(t, -time.Hour)
	given := b.fetch(3)
	assert.Equal(t, texts(3, 3), dataOf(given))
	b.settle(given, rpw.Settlement{Verdict: rpw.Ack})
	ds, err := b.Fetch(t.Context(), rpw.FetchRequest{Stream: "s", Group: "g", Consumer: "c", Max: 3, Wait: 20 * time.Second})
	require.NoError(t, err)
	assert.Equal(t, texts(1, 1), dataOf(ds))
	b.settle(ds, rpw.Settlement{Verdict: rpw.Ack})
	clock.Set(t, -time.Hour+50*time.Minute)
	assert.Empty(t, b.fetch(3), "no sooner than was said")
	clock.Set(t, 2*time.Minute)
	assert.Equal(t, texts(2, 2), dataOf(b.fetch(3)))
}
