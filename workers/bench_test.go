package workers_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
	"github.com/redis-process-worker/rpw/driver/memory"
	"github.com/redis-process-worker/rpw/workers"
)

// BenchmarkThroughput runs actions whose handler does nothing, enqueued in batches: the time is that of one action from its start to its result.
func BenchmarkThroughput(b *testing.B) {
	hub := open(b, memory.New(memory.Options{MaxBytes: 1 << 40}).Parts())
	def := actions.Define[int, int]("noop", actions.Keep(rpw.KeepActions{Completed: 1}))
	var left atomic.Int64
	left.Store(int64(b.N))
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	all := make(chan struct{})
	w := workers.New(hub, workers.Config{Concurrency: 64, Logger: quiet})
	require.NoError(b, workers.Handle(w, def, func(_ context.Context, n int) (int, error) {
		if left.Add(-1) == 0 {
			close(all)
		}
		return n, nil
	}))
	var wg sync.WaitGroup
	wg.Go(func() { w.Run(ctx) })
	b.ReportAllocs()
	for n := b.N; n > 0; n -= rpw.MaxBatch {
		_, err := def.StartAll(ctx, hub, make([]int, min(n, rpw.MaxBatch)))
		require.NoError(b, err)
	}
	<-all
	b.StopTimer()
	cancel()
	wg.Wait()
}

// BenchmarkRun is the time of one action at a time: start, claim, handler, result.
func BenchmarkRun(b *testing.B) {
	hub := open(b, memory.New(memory.Options{}).Parts())
	def := actions.Define[int, int]("noop", actions.Keep(rpw.KeepActions{Completed: time.Second}))
	w := workers.New(hub, workers.Config{Logger: quiet})
	require.NoError(b, workers.Handle(w, def, func(_ context.Context, n int) (int, error) { return n, nil }))
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() { w.Run(ctx) })
	b.ReportAllocs()
	for b.Loop() {
		if _, err := def.Run(ctx, hub, 1); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	wg.Wait()
}

// BenchmarkSixHourAction is the real time of 34 virtual hours: five attempts of six hours, an hour apart.
func BenchmarkSixHourAction(b *testing.B) {
	test := testing.InternalTest{Name: "SixHours", F: func(t *testing.T) { // virtual time is for tests
		inBubble(t, func(t *testing.T, hub *rpw.Hub) {
			attempts, err := sixHours(t.Context(), hub, workers.Config{Logger: quiet, Lease: rpw.MaxLease, Heartbeat: time.Minute})
			require.NoError(t, err)
			require.Equal(t, 5, attempts)
		})
	}}
	all := func(string, string) (bool, error) { return true, nil }
	for b.Loop() {
		if !testing.RunTests(all, []testing.InternalTest{test}) {
			b.Fatal("the action did not complete")
		}
	}
}
