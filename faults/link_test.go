package faults

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// TestPoorLink: F4, S1, S2, E1: over a link that is slow, late or cut into single bytes nothing is spoilt or out of order, contexts are honoured,
// and the link is kept.
func TestPoorLink(t *testing.T) {
	t.Parallel()
	for name, poor := range map[string]redistest.Poor{
		"bytes":  {Slice: 1},
		"late":   {Jitter: 400 * time.Millisecond},
		"narrow": {Rate: 64 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const events = 20
			server := redistest.Start(t)
			proxy := redistest.NewProxy(t, server.Addr)
			proxy.Slow(poor)
			hub := open(t, "redis://"+proxy.Addr)
			stream := rpw.StreamOf[string]("texts")
			sub, err := stream.Subscribe(t.Context(), hub, rpw.Newest())
			require.NoError(t, err)
			text := func(n int) string { return strconv.Itoa(n) + string(make([]byte, 1000)) }
			var publishing sync.WaitGroup
			publishing.Go(func() {
				for n := range events {
					_, err := stream.Publish(t.Context(), hub, "text", text(n))
					assert.NoError(t, err)
				}
			})
			for n := range events {
				m, err := sub.Next(t.Context())
				require.NoError(t, err)
				require.Equal(t, text(n), m.Data)
			}
			publishing.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			began := time.Now()
			_, _, err = rpw.Get[string](ctx, hub, "absent")
			atMost(t, "a call that has 20 ms returns after", time.Since(began), 500*time.Millisecond)
			if name == "late" {
				assert.ErrorIs(t, err, context.DeadlineExceeded)
			}
			atMost(t, "links made", linksMade(t, server), 12)
		})
	}
}

// TestResetsWhileFollowing: F5, S1, S5, E1: links are reset ten times a second under publishers and subscribers; each event comes once and in order.
func TestResetsWhileFollowing(t *testing.T) {
	t.Parallel()
	const subscribers = 10
	resets := 40
	if full {
		resets = 200
	}
	proxy := redistest.NewProxy(t, redistest.StartDurable(t).Addr)
	hub := open(t, "redis://"+proxy.Addr)
	stream := rpw.StreamOf[int]("numbers")
	p := &publisher{hub: hub, stream: stream}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	stop := make(chan struct{})
	var load, following sync.WaitGroup
	var followers []*follower
	for range subscribers {
		f := follow(t, hub, stream)
		followers = append(followers, f)
		following.Go(func() { f.run(ctx) })
	}
	load.Go(func() { p.run(ctx, t, stop, time.Millisecond) })
	for i := range resets {
		time.Sleep(100 * time.Millisecond)
		if i%2 == 0 {
			proxy.Cut()
		} else {
			proxy.CutAfter(1 + rand.N(2000)) // in the midst of an answer
		}
	}
	proxy.CutAfter(0)
	close(stop)
	load.Wait()
	within(t, time.Now(), "all have everything", func() bool {
		for _, f := range followers {
			if f.next.Load() < p.stored.Load() {
				return false
			}
		}
		return true
	})
	end()
	following.Wait()
	for _, f := range followers {
		assert.Empty(t, f.wrong)
	}
	assert.Len(t, all(t, hub, stream), int(p.stored.Load()))
	note(t, "events through "+strconv.Itoa(resets)+" resets", p.stored.Load())
}

// TestSubscribeNow: F6, S4: what is published right after Subscribe has returned arrives, each of thousands of times.
func TestSubscribeNow(t *testing.T) {
	t.Parallel()
	const rounds, at = 10_000, 8
	server := redistest.Start(t)
	url := "redis://" + server.Addr
	subscriber, publisher := open(t, url), open(t, url)
	var running sync.WaitGroup
	for i := range at {
		running.Go(func() {
			stream := rpw.StreamOf[int]("stream" + strconv.Itoa(i))
			for n := range rounds / at {
				sub, err := stream.Subscribe(t.Context(), subscriber, rpw.Newest())
				if !assert.NoError(t, err) {
					return
				}
				published := make(chan error, 1)
				go func() {
					_, err := stream.Publish(t.Context(), publisher, "number", n)
					published <- err
				}()
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				m, err := sub.Next(ctx)
				cancel()
				if !assert.NoError(t, errors.Join(err, <-published)) || !assert.Equal(t, n, m.Data) {
					return
				}
			}
		})
	}
	running.Wait()
}
