//go:build faults

package faults

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

// TestDemotion makes the server a replica for ten seconds: it answers READONLY then. Nothing is done meanwhile, which the errors say, links are
// given up in case another server is behind the address now, and all goes on when the server is a master again.
// F21, E4.
func TestDemotion(t *testing.T) {
	const demoted = 10 * time.Second
	server := redistest.StartDurable(t)
	hub := open(t, "redis://"+server.Addr)
	stream := rpw.StreamOf[int]("numbers")
	p := &publisher{hub: hub, stream: stream}
	f := follow(t, hub, stream)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	stop, published, followed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() { defer close(followed); f.run(ctx) }()
	go func() { defer close(published); p.run(ctx, t, stop, 10*time.Millisecond) }()
	within(t, time.Now(), "the load runs", func() bool { return f.next.Load() > 20 })

	before := linksMade(t, server)
	server.CLI(t, "REPLICAOF", "127.0.0.1", "1")
	cpu := startProcessor(t)
	began, tried, cut := time.Now(), 0, 0
	var slowest time.Duration
	for time.Since(began) < demoted {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		asked := time.Now()
		err := rpw.Set(ctx, hub, "k", 1, rpw.TTL(time.Minute))
		slowest = max(slowest, time.Since(asked))
		cancel()
		switch rpw.Code(err) {
		case "unavailable":
		case "uncertain", "deadline_exceeded": // its time ended while it was under way, or before it could be
			cut++
		default:
			require.NoError(t, err)
			t.Fatal("a replica took a write")
		}
		tried++
	}
	atMost(t, "the slowest answer to a call that has 200 ms", slowest, 400*time.Millisecond)
	note(t, "calls refused", tried)
	atMost(t, "of them cut short by their own time", cut, tried/5)
	atMost(t, "links made a second", (linksMade(t, server)-before)/int(demoted.Seconds()), 20)
	atMost(t, "processor while it is a replica", cpu.share(t), 5)

	server.CLI(t, "REPLICAOF", "NO", "ONE")
	back := time.Now()
	_, found, err := rpw.Get[int](t.Context(), hub, "k")
	require.NoError(t, err)
	assert.False(t, found, "nothing was done")
	require.NoError(t, rpw.Set(t.Context(), hub, "k", 1, rpw.TTL(time.Minute)))
	atMost(t, "a call works again after", time.Since(back), recovery)
	mark, err := stream.Publish(t.Context(), hub, "mark", 0)
	require.NoError(t, err)
	assert.False(t, mark.IsZero())
	atMost(t, "the subscriber works again after", within(t, back, "the subscriber goes on", f.marked.Load), recovery)
	close(stop)
	<-published
	within(t, time.Now(), "the subscriber has everything", func() bool { return f.next.Load() == p.stored.Load() })
	end()
	<-followed
	atMost(t, "events lost, doubled or out of order", len(f.wrong), 0)
}
