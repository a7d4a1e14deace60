package redis

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

func TestEntriesHaveTheFormOfTheOriginal(t *testing.T) {
	b := newBus(t)
	b.add(1, 1)
	entries, err := rueidisEntries(b.bare("XRANGE", "%s", "-", "+"))
	require.NoError(t, err)
	assert.Equal(t, []string{"t", "1", "rpw", "1"}, entries[0])
	b.bare("XADD", "%s", "*", "evt", `{"a":1}`)
	b.bare("XADD", "%s", "*", "evt", "2", "extra", "x")
	b.add(2, 2)
	events, err := b.Read(t.Context(), rpw.ReadRequest{Stream: "s"})
	require.NoError(t, err)
	require.Equal(t, []string{"1", `{"a":1}`, "2", "2"}, data(events))
	assert.Equal(t, "evt", events[1].Type)
	assert.Equal(t, map[string]string{"extra": "x"}, events[2].Header)
	for i, e := range events {
		assert.EqualValues(t, i+1, e.Count)
		assert.Equal(t, data(events[i+1:]), b.read(e.Position()))
	}
	back, err := b.Read(t.Context(), rpw.ReadRequest{Stream: "s", Reverse: true})
	require.NoError(t, err)
	slices.Reverse(back)
	assert.Equal(t, data(events), data(back))
	info, err := b.StreamInfo(t.Context(), "s")
	require.NoError(t, err)
	assert.EqualValues(t, 4, info.Added)
}

func rueidisEntries(m rueidis.RedisMessage) (all [][]string, err error) {
	entries, err := m.ToArray()
	for _, e := range entries {
		parts, _ := e.ToArray()
		fields, _ := parts[1].AsStrSlice()
		all = append(all, fields)
	}
	return all, err
}

func TestRetentionByAgeHoldsWithoutAPublish(t *testing.T) {
	for age := 50 * time.Millisecond; ; age *= 2 {
		b := newBus(t)
		began := time.Now()
		batch := rpw.Batch{Stream: "s", Events: []rpw.NewEvent{{Type: "t", Data: []byte("1")}}, Keep: rpw.Retention{Age: age}}
		answers, err := b.Publish(t.Context(), []rpw.Batch{batch})
		require.NoError(t, err)
		require.NoError(t, answers[0].Err)
		begin := b.locate(rpw.Oldest())
		kept, err := b.Read(t.Context(), rpw.ReadRequest{Stream: "s", After: begin})
		if time.Since(began) >= age && age < time.Minute { // a slow machine: it may have been old by then
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, texts(1, 1), data(kept))
		time.Sleep(age + 10*time.Millisecond)
		assert.Empty(t, b.read(rpw.Position{}))
		assert.EqualValues(t, 1, b.gap(begin).Missed)
		return
	}
}

func TestKeysAndProducersBelongToAHistory(t *testing.T) {
	b := newBus(t)
	batch := rpw.Batch{Stream: "s", Producer: rpw.Producer{ID: [16]byte{0, '\n', ' ', 255}, Seq: math.MaxUint64 - 1}, Events: []rpw.NewEvent{{Type: "t", Key: "k"}}}
	publish := func() rpw.Position {
		answers, err := b.Publish(t.Context(), []rpw.Batch{batch})
		require.NoError(t, err)
		require.NoError(t, answers[0].Err)
		return answers[0].Last()
	}
	first := publish()
	assert.Equal(t, first, publish())
	batch.Producer.Seq++
	assert.Equal(t, first, publish(), "the key is stored")
	b.bare("DEL", "%s")
	assert.NotEqual(t, first.Epoch, publish().Epoch)
}

// TestAFullServerRefusesWholeAndLetsFinish: F23, S2, G2: the memory of the server is full.
func TestAFullServerRefusesWholeAndLetsFinish(t *testing.T) {
	server := redistest.Start(t)
	b := busOf(t, storeOn(t, server, "p"))
	b.group()
	b.add(1, 300)
	ds := b.fetch(10)
	server.CLI(t, "CONFIG", "SET", "maxmemory", "1")
	answers, err := b.Publish(t.Context(), []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: "t"}}}})
	if err == nil {
		err = answers[0].Err
	}
	require.ErrorIs(t, err, rpw.ErrFull)
	b.settle(ds[:5], rpw.Settlement{Verdict: rpw.Ack})
	b.settle(ds[5:6], rpw.Settlement{Verdict: rpw.Reject})
	b.settle(ds[6:], rpw.Settlement{Verdict: rpw.Extend})
	assert.Equal(t, texts(11, 12), dataOf(b.fetch(2)))
	b.group() // as who consumes does at his beginning
	n, err := b.Trim(t.Context(), "s", rpw.Retention{Events: 100})
	require.NoError(t, err)
	assert.EqualValues(t, 200, n)
	server.CLI(t, "CONFIG", "SET", "maxmemory", "0")
	assert.EqualValues(t, 301, b.add(301, 301)[0].Count, "nothing was done")
}

func TestWrongTypeIsAConflict(t *testing.T) {
	b := newBus(t)
	b.bare("SET", "%s", "x")
	_, err := b.Publish(t.Context(), []rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: "t"}}}})
	require.ErrorIs(t, err, rpw.ErrConflict)
	_, err = b.Read(t.Context(), rpw.ReadRequest{Stream: "s"})
	require.ErrorIs(t, err, rpw.ErrConflict)
	_, err = b.Locate(t.Context(), "s", rpw.Newest())
	require.ErrorIs(t, err, rpw.ErrConflict)
}

// TestIdleWaitsAskNothing protects S8: readers and fetches that wait, ten thousand of them, send no command and share a handful of connections.
func TestIdleWaitsAskNothing(t *testing.T) {
	server := redistest.Start(t)
	parts, err := New(t.Context(), dial(t, server), Options{Prefix: "p", IgnoreForeign: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, parts.Close(context.Background())) }()
	b := bus{parts.Streams.(*streamBus), t}
	b.group()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	const readers = 5000              // and as many in a group
	wait := func(call func() error) { // repeated as the Hub does: that so many begin at once is too much for a busy machine
		err := call()
		for errors.Is(err, rpw.ErrUnavailable) || errors.Is(err, rpw.ErrUncertain) { // also one that is cut by cancel
			err = call()
		}
		done <- err
	}
	for n := range readers {
		go wait(func() error {
			_, err := b.Read(ctx, rpw.ReadRequest{Stream: fmt.Sprint("s", n), Wait: rpw.Forever})
			return err
		})
		go wait(func() error {
			_, err := b.Fetch(ctx, rpw.FetchRequest{Stream: "s", Group: "g", Consumer: fmt.Sprint("c", n), Wait: rpw.Forever})
			return err
		})
	}
	commands := func() string {
		stats := fmt.Sprint(server.CLI(t, "INFO", "stats"))
		_, rest, _ := strings.Cut(stats, "total_commands_processed:")
		n, _, _ := strings.Cut(rest, "\r")
		return n
	}
	var before string
	require.Eventually(t, func() bool {
		last := before
		before = commands()
		x, _ := strconv.Atoi(last)
		y, _ := strconv.Atoi(before)
		return y-x == 1
	}, 30*time.Second, 300*time.Millisecond, "they come to rest")
	clients := fmt.Sprint(server.CLI(t, "CLIENT", "LIST"))
	assert.LessOrEqual(t, strings.Count(clients, "id="), 10)
	cancel()
	for range 2 * readers {
		require.ErrorIs(t, <-done, context.Canceled)
	}
}
