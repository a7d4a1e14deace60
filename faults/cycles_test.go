//go:build faults

package faults

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
	"github.com/redis-process-worker/rpw/internal/redistest"
	"github.com/redis-process-worker/rpw/logs"
	"github.com/redis-process-worker/rpw/workers"
)

// TestCycles: F44, E3: opens a hub, uses everything and closes it, a hundred times, also without the server at the end. Nothing is left of it.
func TestCycles(t *testing.T) {
	const cycles = 100
	server := redistest.StartDurable(t)
	cycle(t, server, 1) // what is made once in a process
	own := goleak.IgnoreCurrent()
	before, filesBefore, memoryBefore := runtime.NumGoroutine(), files(t), memory()
	var slowest, slowestAlone time.Duration
	for i := range cycles {
		took := cycle(t, server, i)
		if i%10 == 0 {
			slowestAlone = max(slowestAlone, took)
		} else {
			slowest = max(slowest, took)
		}
	}
	atMost(t, "the slowest close", slowest, 3*time.Second)
	atMost(t, "the slowest close without the server", slowestAlone, rpw.CloseTimeout+time.Second)
	assert.NoError(t, goleak.Find(own))
	atMost(t, "goroutines more than before", runtime.NumGoroutine()-before, 0)
	atMost(t, "open files more than before", files(t)-filesBefore, 0)
	atMost(t, "memory more than before, heap and stacks", memory()-memoryBefore, 5)
	within(t, time.Now(), "the connections have ended", func() bool { return clients(t, server) == 0 })
	atMost(t, "connections left", clients(t, server), 0)
}

// cycle is one life of a hub. Of ten one is closed without the server: killed, or frozen. It returns how long the close took.
func cycle(t *testing.T, server *redistest.Server, i int) time.Duration {
	hub, err := rpw.Open(t.Context(), "redis://"+server.Addr)
	require.NoError(t, err)
	numbers := rpw.StreamOf[int]("numbers")
	double := actions.Define[int, int]("double")
	var waiting sync.WaitGroup
	got := make(chan int, 2)

	sub, err := numbers.Subscribe(t.Context(), hub, rpw.Newest())
	require.NoError(t, err)
	waiting.Go(func() {
		for m, err := range sub.All(t.Context()) {
			if err != nil {
				assert.ErrorIs(t, err, rpw.ErrClosed)
				return
			}
			got <- m.Data
		}
	})
	waiting.Go(func() {
		err := numbers.Consume(t.Context(), hub, rpw.Consumer{Group: "group", From: rpw.Oldest(), Grace: time.Second}, func(_ context.Context, m rpw.Message[int]) error {
			if m.Data == i {
				got <- m.Data
			}
			return nil
		})
		assert.ErrorIs(t, err, rpw.ErrClosed)
	})
	worker := workers.New(hub, workers.Config{Grace: time.Second, Logger: quiet})
	require.NoError(t, workers.Handle(worker, double, func(_ context.Context, n int) (int, error) { return 2 * n, nil }))
	waiting.Go(func() { assert.NoError(t, worker.Run(t.Context())) })
	log := slog.New(logs.NewHandler(hub, logs.WithFallback(slog.DiscardHandler)))

	log.Info("begin", "cycle", i)
	require.NoError(t, rpw.Set(t.Context(), hub, "k", i, rpw.TTL(time.Minute)))
	values, err := hub.Cache().Get(t.Context(), rpw.GetRequest{Keys: []string{"k"}, MaxStale: time.Second})
	require.NoError(t, err)
	assert.True(t, values[0].Found)
	_, err = numbers.Publish(t.Context(), hub, "number", i)
	require.NoError(t, err)
	out, err := double.Run(t.Context(), hub, i)
	require.NoError(t, err)
	assert.Equal(t, 2*i, out)
	assert.Equal(t, []int{i, i}, []int{<-got, <-got}, "by the subscription, and by the group")

	leave, back := func() {}, func() {}
	switch i % 20 {
	case 0:
		leave, back = server.Kill, func() { server.Restart(t); server.AwaitLoaded(t) }
	case 10:
		leave, back = server.Freeze, server.Thaw
	}
	leave()
	began := time.Now()
	err = hub.Close()
	took := time.Since(began)
	if i%10 != 0 {
		assert.NoError(t, err)
	}
	waiting.Wait()
	back()
	return took
}
