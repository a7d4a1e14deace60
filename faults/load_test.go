package faults

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// open opens a hub that is closed with the test.
func open(t testing.TB, url string, opts ...rpw.Option) *rpw.Hub {
	t.Helper()
	hub, err := rpw.Open(t.Context(), url, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, hub.Close()) })
	return hub
}

// publisher publishes the numbers from 0 on, each until it is stored: the key makes repeats safe.
type publisher struct {
	hub    *rpw.Hub
	stream rpw.Stream[int]
	stored atomic.Int64 // how many
	failed atomic.Int64 // calls that had to be repeated
	stall  atomic.Int64 // the longest time from the first call for a number to its storing, ns
}

// run publishes, a number each pace, until stop is closed; what is on its way is stored still, unless ctx ends.
func (p *publisher) run(ctx context.Context, t testing.TB, stop <-chan struct{}, pace time.Duration) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		began := time.Now()
		for {
			_, err := p.stream.Publish(ctx, p.hub, "number", n, rpw.WithKey(strconv.Itoa(n)))
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return
			}
			p.failed.Add(1)
			if !errors.Is(err, rpw.ErrUnavailable) && !errors.Is(err, rpw.ErrUncertain) {
				t.Errorf("publish %d: %v", n, err)
				return
			}
		}
		p.stored.Add(1)
		p.stall.Store(max(p.stall.Load(), int64(time.Since(began))))
	}
}

// follower reads a stream of numbers with a subscription, and notes what is lost, doubled or out of order. Any other event of the stream is a mark.
type follower struct {
	sub    *rpw.Subscription[int]
	next   atomic.Int64 // the number that comes next
	marked atomic.Bool
	wrong  []string // to be read after run
}

func follow(t testing.TB, hub *rpw.Hub, stream rpw.Stream[int], opts ...rpw.SubscribeOption) *follower {
	t.Helper()
	sub, err := stream.Subscribe(t.Context(), hub, rpw.Oldest(), opts...)
	require.NoError(t, err)
	return &follower{sub: sub}
}

// run reads until ctx ends.
func (f *follower) run(ctx context.Context) {
	for m, err := range f.sub.All(ctx) {
		switch {
		case ctx.Err() != nil || errors.Is(err, rpw.ErrClosed):
			return
		case err != nil:
			f.wrong = append(f.wrong, err.Error())
			return
		case m.Type == "mark":
			f.marked.Store(true)
			continue
		case int64(m.Data) != f.next.Load():
			f.wrong = append(f.wrong, "after "+strconv.FormatInt(f.next.Load()-1, 10)+" came "+strconv.Itoa(m.Data))
		}
		f.next.Store(int64(m.Data) + 1)
	}
}

// tally counts how often each number was handled.
type tally struct {
	mu    sync.Mutex
	times map[int]int
}

func (c *tally) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.times == nil {
		c.times = make(map[int]int)
	}
	c.times[n]++
}

// lost is how many of the first n numbers were not handled.
func (c *tally) lost(n int64) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	lost := 0
	for i := range int(n) {
		if c.times[i] == 0 {
			lost++
		}
	}
	return lost
}

// again is how often a number was handled after the first time.
func (c *tally) again() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	again := 0
	for _, n := range c.times {
		again += n - 1
	}
	return again
}

func stream(i int) rpw.Stream[int] { return rpw.StreamOf[int]("stream" + strconv.Itoa(i)) }

// each calls f with 0 to n-1, 64 at a time.
func each(n int, f func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	all.Wait()
}
